-- Run a task again: a running one is stopped and requeued, any other one waits, once.
-- KEYS: task task_set new_queue spare workers parked
-- ALSO: inboxes
-- ARGV: task_id control inbox_prefix
-- EACH: state
--   states in which to do so (none: any)
-- Returns an outcome: see decide/restart.lua.

check(KEYS.new_queue, KEYS.task_set)
redis.call('HLEN', KEYS.spare)
redis.call('HLEN', KEYS.parked)
local id, to = ARGV.task_id, {}
local outcome = decide_restart(KEYS.task, ARGV.control, ARGV, EACH.first)
if PLACE.queue(outcome) then
  local queue = looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.workers)
  local stands = entry_stands(queue, KEYS.parked, id, outcome)
  -- It had lost its place, so it begins to wait now, for a clean run.
  if outcome == Outcome.WAITS and not stands then
    forget_run(KEYS.task, 'owner', 'local')
    redis.call('HSET', KEYS.task, 'last_update', stamp(now_ms()))
  end
  place(to, id, outcome, stands)
end
put(to, 'LPUSH', KEYS.new_queue, KEYS.task_set)
return outcome
