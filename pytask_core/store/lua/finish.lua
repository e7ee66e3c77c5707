-- End tasks: final state and output, out of the worker's hands, to the end queue, and the final event. Once.
-- KEYS: task_set held running end_queue new_queue
-- ALSO: tasks
-- ARGV: task_prefix
-- EACH: token state count
--   of tasks that end alike, and of each such task: its id, output (JSON)
-- Returns the ids that were refused: no longer the worker's own. Safe to run twice.

local prefix, args, now, decided = ARGV.task_prefix, ARGV, stamp(now_ms()), {}
check(KEYS.new_queue, KEYS.task_set, KEYS.held, KEYS.running)
redis.call('LLEN', KEYS.end_queue)
local i = EACH.first
while i < #args do
  local token, state, count = args[i + EACH.token], args[i + EACH.state], tonumber(args[i + EACH.count])
  local opening = opening_of(state)
  i = i + EACH.step
  for at = i, i + 2 * count - 1, 2 do
    local id = args[at]
    note(decided, id, decide_finish(prefix .. id, token, state, args[at + 1], opening, now))
  end
  i = i + 2 * count
end
part_with(decided, KEYS.task_set, KEYS.held, KEYS.running, 'LPUSH', KEYS.new_queue, KEYS.end_queue)
return refused_of(decided)
