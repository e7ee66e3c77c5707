-- Publish events of a task that is still the worker's own, and not ended: nothing comes after the final event.
-- KEYS: task
-- ARGV: token
-- EACH: payload
--   payloads (JSON), in order
-- Returns an Outcome.

return decide_emit(KEYS.task, ARGV.token, ARGV, EACH.first, #ARGV)
