-- Record that a task is to stop. One that stands in the queue is stopped here and now and never starts.
-- KEYS: task
-- ARGV: control foreign
--   foreign: entries that another program had pushed, and that are not to start it
-- RESEND: yes
-- Returns an outcome: TOLD, STOPPED, STOPPED_HALF, STOPPED_BEFORE, OTHER it had ended, MISSING.

local h = fields(KEYS.task, 'state', 'task', 'owner')
if not h or not (h[1] or h[2]) then return Outcome.MISSING end
if h[1] == State.RUNNING then
  redis.call('HSET', KEYS.task, 'command', Command.STOP)
  nudge(ARGV.control, Command.STOP, h[3])
  return Outcome.TOLD
end
local waits = not h[1] or h[1] == State.WAIT
local started_half = redis.call('HEXISTS', KEYS.task, 'unqueued') == 1
-- What has ended or stopped waits again where another program has pushed it: the original does so as it is stopped.
if not waits and tonumber(ARGV.foreign) == 0 then
  return h[1] == State.STOPPED and (started_half and Outcome.STOPPED_HALF or Outcome.STOPPED_BEFORE) or Outcome.OTHER
end
if not waits then forget_run(KEYS.task) end
redis.call('HSET', KEYS.task, 'state', State.STOPPED)
return started_half and Outcome.STOPPED_HALF or Outcome.STOPPED
