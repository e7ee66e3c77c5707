-- Record that tasks were stopped on purpose: STOPPED, still in the task set; or WAIT where a restart was asked for.
-- KEYS: task_set held running new_queue
-- ALSO: tasks
-- ARGV: task_prefix
-- EACH: id token
-- Returns the ids that were refused: no longer the worker's own. Safe to run twice.

return leave_worker(ARGV.task_prefix, KEYS.task_set, KEYS.held, KEYS.running, KEYS.new_queue, ARGV, EACH.first, State.STOPPED, 'LPUSH', function(command) return command == Command.RESTART and command or Command.STOP end)
