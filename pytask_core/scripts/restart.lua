-- Run a task again: a running one is stopped and requeued, an ended or stopped one is queued, a waiting one waits.
-- KEYS[1] the task (HASH)  KEYS[2] task set (SET)  KEYS[3] new queue (LIST)  KEYS[4] removed (SET)
-- KEYS[5] parked (HASH)
-- ARGV[1] id  ARGV[2] control channel, then the states in which to do so (none: any)
-- Returns 1 done, 0 in another state, -1 where there is no such task.

check(KEYS[3], KEYS[2])
redis.call('SCARD', KEYS[4])
redis.call('HLEN', KEYS[5])
local h = fields(KEYS[1], 'state', 'task', 'withdrawn', 'local', 'owner')
if not h or not (h[1] or h[2]) then return -1 end
local state, wanted = h[1] or 'WAIT', #ARGV == 2
for i = 3, #ARGV do wanted = wanted or ARGV[i] == state end
if not wanted then return 0 end
if state == 'RUNNING' then
  -- A local task belongs to its worker, so there it is run again without passing through the queue.
  local is_local = h[4] == 'true'
  redis.call('HSET', KEYS[1], 'command', is_local and 'reload' or 'restart')
  nudge(ARGV[2], is_local and 'reload' or 'stop', h[5])
  return 1
end
if h[1] == 'WAIT' and unpark(KEYS[5], ARGV[1]) then
  redis.call('LPUSH', KEYS[3], ARGV[1])
  return 1
end
if h[1] == 'WAIT' or (not h[1] and stands_in(KEYS[3], KEYS[4], ARGV[1])) then return 1 end
redis.call('HSET', KEYS[1], 'state', 'WAIT', 'last_update', stamp(now_ms()))
redis.call('HDEL', KEYS[1], 'output', 'owner', 'command', 'withdrawn', 'local', 'charges', 'since', 'deaths', 'hangs')
redis.call('PERSIST', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
-- Stopped while it waited: its entry still stands in the queue.
if not h[3] then redis.call('LPUSH', KEYS[3], ARGV[1]) end
return 1
