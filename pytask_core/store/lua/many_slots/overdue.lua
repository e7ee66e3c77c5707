-- Which ids have been parked under a name for too long.
-- KEYS[1] parked (HASH)
-- ARGV[1] name  ARGV[2] ms after which it is too long  ARGV[3] ids at most
-- Returns {id, since when, …}, the oldest first.

return overdue(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
