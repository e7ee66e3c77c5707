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
local prefix, retention, near, count = ARGV.task_prefix, tonumber(ARGV.retention), tonumber(ARGV.near), 0
local waits = redis.call('LLEN', KEYS.new_queue) > 0

-- Whether another program has queued it again: entries that are spare start nothing.
local function is_queued(id)
  local entries = waits and entries_of(KEYS.new_queue, id, near) or 0
  return entries > 0 and entries > (tonumber(redis.call('HGET', KEYS.spare, id) or 0) or 0)
end

for i = EACH.first, #ARGV, EACH.step do
  local id = ARGV[i + EACH.id]
  local key = prefix .. id
  local h = fields(key, 'state', 'owner')
  local is_seen = h and (ARGV[i + EACH.owner] == '' or ARGV[i + EACH.owner] == h[2])
  if is_seen and final(h[1]) and not is_queued(id) then
    if ARGV[i + EACH.keep] == '1' then
      redis.call('SADD', KEYS.task_set, id)
    elseif retention > 0 then
      redis.call('EXPIRE', key, retention)
      count = count + 1
    else
      count = count + redis.call('DEL', key)
    end
  end
  redis.call('LREM', KEYS.cleaning, 1, id)
end
return count
