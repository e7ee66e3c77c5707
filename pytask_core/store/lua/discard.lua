-- Forget ended tasks, at once or after a while, and take them off the worker's cleaning list. What was restarted
-- meanwhile is left alone, and what another program has queued again without saying so in the hash.
-- KEYS: cleaning task_set new_queue spare
-- ALSO: tasks
-- ARGV: task_prefix retention near
--   retention: seconds for which the hash stays readable
--   near: how near the queue's ends to look
-- EACH: id keep owner
--   id, '1' to keep it findable, owner it had when the handler saw it ('': nobody looked): one that has ended once more
--   stands in the end queue again
-- Returns how many are gone or will be.

redis.call('SCARD', KEYS.task_set)
local retention, near, count, to = tonumber(ARGV.retention), tonumber(ARGV.near), 0, {}
local waits = redis.call('LLEN', KEYS.new_queue) > 0

-- Whether another program has queued it again: entries that are spare start nothing.
local function is_queued(id)
  local entries = waits and entries_of(KEYS.new_queue, id, near) or 0
  return entries > 0 and entries > (tonumber(redis.call('HGET', KEYS.spare, id) or 0) or 0)
end

for i = EACH.first, #ARGV, EACH.step do
  local id = ARGV[i + EACH.id]
  if not is_queued(id) then
    local keeps, owner = ARGV[i + EACH.keep] == '1', ARGV[i + EACH.owner]
    local outcome = decide_discard(ARGV.task_prefix .. id, retention, keeps, owner)
    if outcome == Outcome.CLEANED then count = count + 1 end
    place(to, id, outcome)
  end
  redis.call('LREM', KEYS.cleaning, 1, id)
end
put(to, 'LPUSH', KEYS.new_queue, KEYS.task_set)
return count
