-- Forget a worker that holds nothing any more.
-- KEYS[1] workers (ZSET)  KEYS[2] held (SET)  KEYS[3] names (SET)  KEYS[4] suspect (STRING)
-- KEYS[5] leases (HASH)
-- ARGV[1] worker
-- Returns how many ids it still holds; 0 where it is forgotten.

local left = redis.call('SCARD', KEYS[2])
if left == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[5], ARGV[1])
  redis.call('DEL', KEYS[3], KEYS[4])
end
return left
