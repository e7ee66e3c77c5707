-- Give unfinished tasks back: WAIT, at the front of the new queue. Local tasks are removed.
-- KEYS: task_set held running new_queue
-- ALSO: tasks
-- ARGV: task_prefix
-- EACH: id token
-- Returns the ids that were refused: no longer the worker's own. Safe to run twice.

return leave_worker(ARGV.task_prefix, KEYS.task_set, KEYS.held, KEYS.running, KEYS.new_queue, ARGV, EACH.first, State.WAIT, 'RPUSH', function(command) return command end)
