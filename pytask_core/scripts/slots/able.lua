-- A live worker that knows a task name, or ''.
-- KEYS[1] workers (ZSET)
-- ARGV[1] name  ARGV[2] the worker that asks  ARGV[3] prefix of names
-- ARGV[4] task_timeout in ms: a worker that has not beaten for so long is not live

local able = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now_ms() - ARGV[4], '+inf', 'LIMIT', 0, 1000)) do
  if worker ~= ARGV[2] and redis.call('SISMEMBER', ARGV[3] .. worker, ARGV[1]) == 1 then able[#able + 1] = worker end
end
return #able == 0 and '' or able[now_ms() % #able + 1]
