-- Record that a task is to stop. One that stands in the queue is stopped here and now and never starts.
-- KEYS: task task_set new_queue spare workers parked
-- ALSO: inboxes
-- ARGV: task_id control inbox_prefix
-- Returns an outcome: see decide/stop.lua.

check(KEYS.new_queue, KEYS.task_set)
redis.call('HLEN', KEYS.spare)
redis.call('HLEN', KEYS.parked)
local id, queue = ARGV.task_id, looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.workers)

local function withdraw(state)
  local extra = queue.spare(id)
  local known = extra + (not unpark(KEYS.parked, id) and state == State.WAIT and 1 or 0)
  return math.max(queue.withdraw(id, known) - extra, 0)
end

local outcome, to = decide_stop(KEYS.task, ARGV.control, withdraw), {}
place(to, id, outcome)
put(to, 'LPUSH', KEYS.new_queue, KEYS.task_set)
if PLACE.active(outcome) then queue.purge(id) end
return outcome
