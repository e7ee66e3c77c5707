-- Publish events of tasks that are still the worker's own, and not ended: nothing comes after the final event.
-- KEYS: task_set
-- ALSO: tasks
-- ARGV: task_prefix
-- EACH: id token payload
--   id, token, payload (JSON)
-- Returns how many were refused.

local prefix, args, refused = ARGV.task_prefix, ARGV, 0
for i = EACH.first, #args, EACH.step do
  local at = i + EACH.payload
  if decide_emit(prefix .. args[i + EACH.id], args[i + EACH.token], args, at, at) == Outcome.LOST then refused = refused + 1 end
end
return refused
