-- Run a task again, first step: a running one is told, an ended or stopped one is to be queued, a waiting one waits.
-- KEYS[1] the task (HASH)
-- ARGV[1] control channel  ARGV[2] '1': its id is known not to stand in the queue
-- then the states in which to do so (none: any)
-- Returns 'missing', 'other' in another state, 'told' it runs, 'waits', 'perhaps' written by hand and perhaps queued,
-- 'entered' stopped while it waited, so that its entry stands in the queue, 'queue'.

local h = fields(KEYS[1], 'state', 'task', 'withdrawn', 'local', 'owner')
if not h or not (h[1] or h[2]) then return 'missing' end
local state, wanted = h[1] or 'WAIT', #ARGV == 2
for i = 3, #ARGV do wanted = wanted or ARGV[i] == state end
if not wanted then return 'other' end
if state == 'RUNNING' then
  -- A local task belongs to its worker, so there it is run again without passing through the queue.
  local is_local = h[4] == 'true'
  redis.call('HSET', KEYS[1], 'command', is_local and 'reload' or 'restart')
  nudge(ARGV[1], is_local and 'reload' or 'stop', h[5])
  return 'told'
end
if h[1] == 'WAIT' then return 'waits' end
if not h[1] and ARGV[2] ~= '1' then return 'perhaps' end
redis.call('HSET', KEYS[1], 'state', 'WAIT', 'last_update', stamp(now_ms()))
redis.call('HDEL', KEYS[1], 'output', 'command', 'withdrawn', 'local', 'charges', 'since', 'deaths', 'hangs', 'kept')
not_queued_yet(KEYS[1])
return h[3] and 'entered' or 'queue'
