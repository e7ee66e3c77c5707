-- Run a task again: a running one is stopped and requeued, any other one waits, once.
-- KEYS: task task_set new_queue spare workers parked
-- ALSO: inboxes
-- ARGV: task_id control inbox_prefix
-- EACH: state
--   states in which to do so (none: any)
-- Returns 1 done, 0 in another state, -1 where there is no such task.

check(KEYS.new_queue, KEYS.task_set)
redis.call('HLEN', KEYS.spare)
redis.call('HLEN', KEYS.parked)
local id, queue = ARGV.task_id, looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.workers)
local h = fields(KEYS.task, 'state', 'task', 'local', 'owner')
if not h or not (h[1] or h[2]) then return -1 end
local state, wanted = h[1] or State.WAIT, #ARGV < EACH.first
for i = EACH.first, #ARGV, EACH.step do wanted = wanted or ARGV[i + EACH.state] == state end
if not wanted then return 0 end
if state == State.RUNNING then
  -- A local task belongs to its worker, so there it is run again without passing through the queue.
  local is_local = h[3] == 'true'
  redis.call('HSET', KEYS.task, 'command', is_local and Command.RELOAD or Command.RESTART)
  nudge(ARGV.control, is_local and Command.RELOAD or Command.STOP, h[4])
  return 1
end
local was_parked = unpark(KEYS.parked, id)
local stands = queue.enter(id, queue.spare(id) + (h[1] == State.WAIT and not was_parked and 1 or 0))
if stands and state == State.WAIT then return 1 end
forget_run(KEYS.task, 'owner', 'local')
redis.call('HSET', KEYS.task, 'state', State.WAIT, 'last_update', stamp(now_ms()))
redis.call('SREM', KEYS.task_set, id)
if not stands then redis.call('LPUSH', KEYS.new_queue, id) end
return 1
