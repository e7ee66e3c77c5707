-- Publish events of tasks that are still the worker's own, and not ended: nothing comes after the final event.
-- KEYS: task_set
-- ALSO: tasks
-- ARGV: task_prefix
-- EACH: id token payload
--   id, token, payload (JSON)
-- Returns how many were refused.

local prefix, refused = ARGV.task_prefix, 0
for i = EACH.first, #ARGV, EACH.step do
  local key = prefix .. ARGV[i + EACH.id]
  local h = fields(key, 'owner', 'state')
  if h and h[1] == ARGV[i + EACH.token] and h[2] == State.RUNNING then
    publish(key, ARGV[i + EACH.payload])
  else
    refused = refused + 1
  end
end
return refused
