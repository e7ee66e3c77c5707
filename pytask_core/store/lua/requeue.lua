-- Give unfinished tasks back: WAIT, at the front of the new queue. Local tasks are removed.
-- KEYS[1] task set (SET)  KEYS[2] held by the worker (SET)  KEYS[3] running (STRING)  KEYS[4] new queue (LIST)
-- ARGV[1] task prefix, then for each task: id, token
-- Returns the ids that were refused: no longer the worker's own. Safe to run twice.

return leave_worker(KEYS, ARGV, 'WAIT', 'RPUSH', function(command) return command end)
