-- Begin a round of Monitor, unless another Monitor has had one within the interval; name the workers that are overdue.
-- KEYS[1] monitor (HASH)  KEYS[2] workers (ZSET)  KEYS[3] running (STRING)
-- ARGV[1] interval, ms  ARGV[2] task_timeout, ms  ARGV[3] prefix of the sets of held ids
-- Returns false where it is another's round, else {worker, …}.
-- A worker without a beat at all is never overdue; sweep.lua finds what it left.

local now = now_ms()
local last = tonumber(redis.call('HGET', KEYS[1], 'round') or 0)
-- Nine tenths, so that the jitter of two loops of the same interval does not let every second round fall out.
if last <= now and now - last < ARGV[1] * 0.9 then return false end
redis.call('HSET', KEYS[1], 'round', now)
-- Held sets that were deleted by hand would leave the count wrong for ever.
local count = 0
for _, worker in ipairs(redis.call('ZRANGE', KEYS[2], 0, 999)) do
  count = count + redis.call('SCARD', ARGV[3] .. worker)
end
if redis.call('ZCARD', KEYS[2]) <= 1000 then redis.call('SET', KEYS[3], count) end
return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2], 'LIMIT', 0, 100)
