-- Record that a task is to stop. A waiting one is stopped here and now and never starts.
-- KEYS[1] the task (HASH)
-- ARGV[1] control channel  ARGV[2] entries of it in the queue, none of which is to start it; 0 where it is parked instead
-- Returns 1 recorded, 2 stopped while it waited, 3 that was done before, 0 it had ended or stopped, -1 there is no such
-- task.

local h = fields(KEYS[1], 'state', 'task', 'owner')
if not h or not (h[1] or h[2]) then return -1 end
if h[1] == 'RUNNING' then
  redis.call('HSET', KEYS[1], 'command', 'stop')
  nudge(ARGV[1], 'stop', h[3])
  return 1
elseif not h[1] or h[1] == 'WAIT' then
  -- The mark is unlike any other, so that who counts it down counts down this one.
  local t = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'state', 'STOPPED')
  if ARGV[2] ~= '0' then redis.call('HSET', KEYS[1], 'withdrawn', ARGV[2] .. ':' .. t[1] .. '.' .. t[2]) end
  return 2
end
return h[1] == 'STOPPED' and 3 or 0
