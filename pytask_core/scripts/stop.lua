-- Record that a task is to stop. A waiting one is stopped here and now and never starts.
-- KEYS[1] the task (HASH)  KEYS[2] task set (SET)
-- ARGV[1] id  ARGV[2] control channel
-- Returns 1 where there was something to stop, 0 where it had ended or stopped, -1 where there is no such task.

redis.call('SCARD', KEYS[2])
local h = fields(KEYS[1], 'state', 'task', 'owner')
if not h or not (h[1] or h[2]) then return -1 end
if h[1] == 'RUNNING' then
  redis.call('HSET', KEYS[1], 'command', 'stop')
  nudge(ARGV[2], 'stop', h[3])
  return 1
elseif not h[1] or h[1] == 'WAIT' then
  redis.call('HSET', KEYS[1], 'state', 'STOPPED', 'withdrawn', '1')
  redis.call('SADD', KEYS[2], ARGV[1])
  return 1
end
return 0
