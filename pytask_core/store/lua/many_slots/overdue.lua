-- Which ids have been parked under a name for too long.
-- KEYS: parked
-- ALSO: parked
-- ARGV: name too_long limit
--   too_long: ms after which it is too long
--   limit: ids at most
-- RESEND: yes
-- Returns {id, since when, …}, the oldest first.

return overdue(KEYS.parked, ARGV.name, ARGV.too_long, ARGV.limit)
