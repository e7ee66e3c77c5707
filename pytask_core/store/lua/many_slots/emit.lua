-- Publish events of a task that is still the worker's own, and not ended: nothing comes after the final event.
-- KEYS[1] the task (HASH)
-- ARGV[1] token, then payloads (JSON), in order
-- Returns 1, or 0 where they were refused.

local h = fields(KEYS[1], 'owner', 'state')
if not h or h[1] ~= ARGV[1] or h[2] ~= 'RUNNING' then return 0 end
publish_from(KEYS[1], ARGV, 2)
return 1
