-- Note that ids are in a worker's hands: before they are claimed, so that they are found if it dies, and once more after.
-- KEYS[1] task set (SET)  KEYS[2] held by the worker (SET)  KEYS[3] running (STRING)  KEYS[4] suspect (STRING)
-- KEYS[5] holders (HASH id -> claim tokens)  KEYS[6] workers (ZSET)
-- ARGV[1] token  ARGV[2] '1' where they are claimed: no other claim counts any more. Before, others may be noted beside,
-- also of the same worker: one that is about to let go, or that runs the task  then ids
-- Returns {the worker's suspect or '', 1 where the worker was not registered any more}. Executed late, when the worker was
-- handed back, it registers it: then a Monitor finds what it noted.

local token, ids = ARGV[1], {unpack(ARGV, 3)}
redis.call('SADD', KEYS[1], unpack(ids))
local more = redis.call('SADD', KEYS[2], unpack(ids))
if more > 0 then redis.call('INCRBY', KEYS[3], more) end
for _, id in ipairs(ids) do
  local noted = ARGV[2] ~= '1' and redis.call('HGET', KEYS[5], id)
  if not noted then
    redis.call('HSET', KEYS[5], id, token)
  elseif not string.find(' ' .. noted .. ' ', ' ' .. token .. ' ', 1, true) then
    redis.call('HSET', KEYS[5], id, noted .. ' ' .. token)
  end
end
local anew = redis.call('ZADD', KEYS[6], 'NX', now_ms(), (string.match(token, '^(.*):')))
return {redis.call('GET', KEYS[4]) or '', anew}
