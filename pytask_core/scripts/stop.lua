-- Record that a task is to stop. A waiting one is stopped here and now and never starts.
-- KEYS[1] the task (HASH)  KEYS[2] task set (SET)  KEYS[3] new queue (LIST)  KEYS[4] parked (HASH)
-- ARGV[1] id  ARGV[2] control channel  ARGV[3] how near the queue's ends to look
-- Returns 1 where there was something to stop, 0 where it had ended or stopped, -1 where there is no such task.

check(KEYS[3], KEYS[2])
redis.call('HLEN', KEYS[4])
local h = fields(KEYS[1], 'state', 'task', 'owner')
if not h or not (h[1] or h[2]) then return -1 end
if h[1] == 'RUNNING' then
  redis.call('HSET', KEYS[1], 'command', 'stop')
  nudge(ARGV[2], 'stop', h[3])
  return 1
elseif h[1] == 'WAIT' and unpark(KEYS[4], ARGV[1]) then
  redis.call('HSET', KEYS[1], 'state', 'STOPPED')
  redis.call('SADD', KEYS[2], ARGV[1])
  return 1
elseif not h[1] or h[1] == 'WAIT' then
  -- Another program may have pushed it more than once, and none of these entries is to start it.
  local entries = entries_of(KEYS[3], ARGV[1], tonumber(ARGV[3]))
  redis.call('HSET', KEYS[1], 'state', 'STOPPED', 'withdrawn', math.max(entries, 1))
  redis.call('SADD', KEYS[2], ARGV[1])
  return 1
end
return 0
