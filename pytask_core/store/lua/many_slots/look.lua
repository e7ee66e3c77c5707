-- A worker's beat, and what its fair share is measured by.
-- KEYS[1] workers (ZSET)  KEYS[2] held by the worker (SET)  KEYS[3] running (STRING)  KEYS[4] leases (HASH)
-- KEYS[5] monitor (HASH)
-- ARGV[1] worker  ARGV[2] number of the promise  ARGV[3] the lease that the worker promises, ms  ARGV[4] '1': the promise
-- counts from now on, and the worker wants to know what is asked for; '': it is noted only where the worker was not registered
-- Returns {1 where the worker was not registered any more, ids it holds, ids all hold, workers, the beat in ms, the lease
-- asked for in ms or false}.

local now = now_ms()
local anew = redis.call('ZADD', KEYS[1], now, ARGV[1])
local counts = ARGV[4] == '1'
if counts or anew == 1 then note_lease(KEYS[4], ARGV[1], ARGV[2], ARGV[3]) end
return {anew, redis.call('SCARD', KEYS[2]), math.max(tonumber(redis.call('GET', KEYS[3]) or 0), 0),
  redis.call('ZCARD', KEYS[1]), now, counts and asked_lease(KEYS[5], now) or false}
