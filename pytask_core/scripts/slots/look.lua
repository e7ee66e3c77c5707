-- A worker's beat, and what its fair share is measured by.
-- KEYS[1] workers (ZSET)  KEYS[2] held by the worker (SET)  KEYS[3] running (STRING)
-- ARGV[1] worker
-- Returns {1 where the worker was not registered any more, ids it holds, ids all hold, workers, the beat in ms}.

local now = now_ms()
local anew = redis.call('ZADD', KEYS[1], now, ARGV[1])
return {anew, redis.call('SCARD', KEYS[2]), math.max(tonumber(redis.call('GET', KEYS[3]) or 0), 0),
  redis.call('ZCARD', KEYS[1]), now}
