-- Record that a task is to stop. One that stands in the queue is stopped here and now and never starts.
-- KEYS[1] the task (HASH)
-- ARGV[1] control channel  ARGV[2] entries that another program had pushed, and that are not to start it
-- Returns 1 recorded, 2 stopped while it waited, 3 it was stopped before, 4 stopped between the steps of its start, so that
-- its hash expires yet, 0 it had ended, -1 there is no such task.

local h = fields(KEYS[1], 'state', 'task', 'owner')
if not h or not (h[1] or h[2]) then return -1 end
if h[1] == 'RUNNING' then
  redis.call('HSET', KEYS[1], 'command', 'stop')
  nudge(ARGV[1], 'stop', h[3])
  return 1
end
local waits = not h[1] or h[1] == 'WAIT'
local started_half = redis.call('HEXISTS', KEYS[1], 'unqueued') == 1
-- What has ended or stopped waits again where another program has pushed it: the original does so as it is stopped.
if not waits and tonumber(ARGV[2]) == 0 then return h[1] == 'STOPPED' and (started_half and 4 or 3) or 0 end
if not waits then forget_run(KEYS[1]) end
redis.call('HSET', KEYS[1], 'state', 'STOPPED')
return started_half and 4 or 2
