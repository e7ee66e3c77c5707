-- Names under which ids are parked that may be there for too long. Of one slot; used in both regimes.
-- KEYS: parked
-- ALSO: parked
-- ARGV: too_long limit
--   too_long: ms after which it is too long
--   limit: names at most
-- RESEND: yes

local till = string.format('%.0f', now_us() - ARGV.too_long * 1000)
return redis.call('ZRANGEBYSCORE', parked_names(KEYS.parked), '-inf', till, 'LIMIT', 0, ARGV.limit)
