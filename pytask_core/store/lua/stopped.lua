-- Record that tasks were stopped on purpose: STOPPED, still in the task set; or WAIT where a restart was asked for.
-- KEYS[1] task set (SET)  KEYS[2] held by the worker (SET)  KEYS[3] running (STRING)  KEYS[4] new queue (LIST)
-- ARGV[1] task prefix, then for each task: id, token
-- Returns the ids that were refused: no longer the worker's own. Safe to run twice.

return leave_worker(KEYS, ARGV, 'STOPPED', 'LPUSH', function(command) return command == 'restart' and command or 'stop' end)
