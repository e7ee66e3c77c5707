-- Note that ids are in a worker's hands: before they are claimed, so that they are found if it dies, and once more after.
-- KEYS: task_set held running suspect holders workers
-- ARGV: token claimed
--   claimed: '1' where they are claimed: no other claim counts any more. Before, others may be noted beside, also of the
--   same worker: one that is about to let go, or that runs the task
-- EACH: id
-- RESEND: yes
-- Returns {the worker's suspect or '', 1 where the worker was not registered any more}. Executed late, when the worker
-- was handed back, it registers it: then a Monitor finds what it noted.

local token, ids = ARGV.token, {unpack(ARGV, EACH.first)}
redis.call('SADD', KEYS.task_set, unpack(ids))
local more = redis.call('SADD', KEYS.held, unpack(ids))
if more > 0 then redis.call('INCRBY', KEYS.running, more) end
for _, id in ipairs(ids) do
  local noted = ARGV.claimed ~= '1' and redis.call('HGET', KEYS.holders, id)
  if not noted then
    redis.call('HSET', KEYS.holders, id, token)
  elseif not string.find(' ' .. noted .. ' ', ' ' .. token .. ' ', 1, true) then
    redis.call('HSET', KEYS.holders, id, noted .. ' ' .. token)
  end
end
local anew = redis.call('ZADD', KEYS.workers, 'NX', now_ms(), (string.match(token, '^(.*):')))
return {redis.call('GET', KEYS.suspect) or '', anew}
