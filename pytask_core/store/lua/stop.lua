-- Record that a task is to stop. One that stands in the queue is stopped here and now and never starts.
-- KEYS: task task_set new_queue spare workers parked
-- ALSO: inboxes
-- ARGV: task_id control inbox_prefix
-- Returns 1 where there was something to stop, 0 where it had ended or stopped, -1 where there is no such task.

check(KEYS.new_queue, KEYS.task_set)
redis.call('HLEN', KEYS.spare)
redis.call('HLEN', KEYS.parked)
local id, queue = ARGV.task_id, looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.workers)
local h = fields(KEYS.task, 'state', 'task', 'owner')
if not h or not (h[1] or h[2]) then return -1 end
if h[1] == State.RUNNING then
  redis.call('HSET', KEYS.task, 'command', Command.STOP)
  nudge(ARGV.control, Command.STOP, h[3])
  return 1
end
local waits = not h[1] or h[1] == State.WAIT
local extra = queue.spare(id)
local was_parked = unpark(KEYS.parked, id)
local entries = queue.withdraw(id, extra + (h[1] == State.WAIT and not was_parked and 1 or 0))
-- What has ended or stopped waits again where another program has pushed it: the original does so as it is stopped.
if not waits and entries <= extra then return 0 end
if not waits then forget_run(KEYS.task) end
redis.call('HSET', KEYS.task, 'state', State.STOPPED)
redis.call('SADD', KEYS.task_set, id)
queue.purge(id)
return 1
