-- Give a task whose name this worker does not know to a live worker that does.
-- KEYS[1] the task (HASH)  KEYS[2] task set (SET)  KEYS[3] held by this worker (SET)  KEYS[4] running (STRING)
-- KEYS[5] workers (ZSET)
-- ARGV[1] id  ARGV[2] token  ARGV[3] name  ARGV[4] this worker  ARGV[5] prefix of names  ARGV[6] prefix of inboxes
-- ARGV[7] task_timeout in ms: a worker that has not beaten for so long is not live
-- Returns the worker that has it now, '' where none knows the name, or false: the task is no longer the worker's own.

redis.call('SCARD', KEYS[2])
local id, name = ARGV[1], ARGV[3]
local h = fields(KEYS[1], 'owner', 'state')
if not h or h[1] ~= ARGV[2] or h[2] ~= 'RUNNING' then return false end
local able = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], now_ms() - ARGV[7], '+inf', 'LIMIT', 0, 1000)) do
  if worker ~= ARGV[4] and redis.call('SISMEMBER', ARGV[5] .. worker, name) == 1 then able[#able + 1] = worker end
end
if #able == 0 then return '' end
local worker = able[now_ms() % #able + 1]
redis.call('HSET', KEYS[1], 'state', 'WAIT')
redis.call('SREM', KEYS[2], id)
let_go(KEYS[3], KEYS[4], {id})
redis.call('LPUSH', ARGV[6] .. worker, id)
return worker
