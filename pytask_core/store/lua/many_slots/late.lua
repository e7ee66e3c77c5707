-- Names under which ids are parked that may be there for too long. Of one slot; used in both regimes.
-- KEYS[1] parked (HASH)
-- ARGV[1] ms after which it is too long  ARGV[2] names at most

local till = string.format('%.0f', now_us() - ARGV[1] * 1000)
return redis.call('ZRANGEBYSCORE', parked_names(KEYS[1]), '-inf', till, 'LIMIT', 0, ARGV[2])
