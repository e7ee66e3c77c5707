-- Record that tasks were stopped on purpose: STOPPED, still in the task set; or WAIT where a restart was asked for.
-- KEYS: task_set held running new_queue
-- ALSO: tasks
-- ARGV: task_prefix
-- EACH: id token
-- Returns the ids that were refused: no longer the worker's own. Safe to run twice.

local decided = {}
check(KEYS.new_queue, KEYS.task_set, KEYS.held, KEYS.running)
for i = EACH.first, #ARGV, EACH.step do
  local id = ARGV[i + EACH.id]
  note(decided, id, decide_leave(ARGV.task_prefix .. id, ARGV[i + EACH.token], Reason.STOP))
end
part_with(decided, KEYS.task_set, KEYS.held, KEYS.running, 'LPUSH', KEYS.new_queue)
return refused_of(decided, Outcome.STOPPED_BEFORE)
