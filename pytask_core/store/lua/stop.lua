-- Record that a task is to stop. One that stands in the queue is stopped here and now and never starts.
-- KEYS[1] the task (HASH)  KEYS[2] task set (SET)  KEYS[3] new queue (LIST)  KEYS[4] spare (HASH)  KEYS[5] workers (ZSET)
-- KEYS[6] parked (HASH)
-- ARGV[1] id  ARGV[2] control channel  ARGV[3] prefix of inboxes
-- Returns 1 where there was something to stop, 0 where it had ended or stopped, -1 where there is no such task.

check(KEYS[3], KEYS[2])
redis.call('HLEN', KEYS[4])
redis.call('HLEN', KEYS[6])
local id, queue = ARGV[1], looker(KEYS[3], KEYS[4], ARGV[3], KEYS[5])
local h = fields(KEYS[1], 'state', 'task', 'owner')
if not h or not (h[1] or h[2]) then return -1 end
if h[1] == 'RUNNING' then
  redis.call('HSET', KEYS[1], 'command', 'stop')
  nudge(ARGV[2], 'stop', h[3])
  return 1
end
local waits = not h[1] or h[1] == 'WAIT'
local extra = queue.spare(id)
local was_parked = unpark(KEYS[6], id)
local entries = queue.withdraw(id, extra + (h[1] == 'WAIT' and not was_parked and 1 or 0))
-- What has ended or stopped waits again where another program has pushed it: the original does so as it is stopped.
if not waits and entries <= extra then return 0 end
if not waits then forget_run(KEYS[1]) end
redis.call('HSET', KEYS[1], 'state', 'STOPPED')
redis.call('SADD', KEYS[2], id)
queue.purge(id)
return 1
