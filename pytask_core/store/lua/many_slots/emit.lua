-- Publish events of a task that is still the worker's own, and not ended: nothing comes after the final event.
-- KEYS: task
-- ARGV: token
-- EACH: payload
--   payloads (JSON), in order
-- Returns 1, or 0 where they were refused.

local h = fields(KEYS.task, 'owner', 'state')
if not h or h[1] ~= ARGV.token or h[2] ~= State.RUNNING then return 0 end
publish_from(KEYS.task, ARGV, EACH.first)
return 1
