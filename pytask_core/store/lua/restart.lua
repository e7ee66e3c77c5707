-- Run a task again: a running one is stopped and requeued, any other one waits, once.
-- KEYS[1] the task (HASH)  KEYS[2] task set (SET)  KEYS[3] new queue (LIST)  KEYS[4] spare (HASH)  KEYS[5] workers (ZSET)
-- KEYS[6] parked (HASH)
-- ARGV[1] id  ARGV[2] control channel  ARGV[3] prefix of inboxes, then the states in which to do so (none: any)
-- Returns 1 done, 0 in another state, -1 where there is no such task.

check(KEYS[3], KEYS[2])
redis.call('HLEN', KEYS[4])
redis.call('HLEN', KEYS[6])
local id, queue = ARGV[1], looker(KEYS[3], KEYS[4], ARGV[3], KEYS[5])
local h = fields(KEYS[1], 'state', 'task', 'local', 'owner')
if not h or not (h[1] or h[2]) then return -1 end
local state, wanted = h[1] or 'WAIT', #ARGV == 3
for i = 4, #ARGV do wanted = wanted or ARGV[i] == state end
if not wanted then return 0 end
if state == 'RUNNING' then
  -- A local task belongs to its worker, so there it is run again without passing through the queue.
  local is_local = h[3] == 'true'
  redis.call('HSET', KEYS[1], 'command', is_local and 'reload' or 'restart')
  nudge(ARGV[2], is_local and 'reload' or 'stop', h[4])
  return 1
end
local was_parked = unpark(KEYS[6], id)
local stands = queue.enter(id, queue.spare(id) + (h[1] == 'WAIT' and not was_parked and 1 or 0))
if stands and state == 'WAIT' then return 1 end
forget_run(KEYS[1], 'owner', 'local')
redis.call('HSET', KEYS[1], 'state', 'WAIT', 'last_update', stamp(now_ms()))
redis.call('SREM', KEYS[2], id)
if not stands then redis.call('LPUSH', KEYS[3], id) end
return 1
