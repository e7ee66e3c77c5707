-- Run a task again, first step: a running one is told, any other one is to wait in the queue.
-- KEYS[1] the task (HASH)
-- ARGV[1] control channel, then the states in which to do so (none: any)
-- Returns 'missing', 'other' in another state, 'told' it runs, 'waits' already, 'again' it is to be queued.

local h = fields(KEYS[1], 'state', 'task', 'local', 'owner')
if not h or not (h[1] or h[2]) then return 'missing' end
local state, wanted = h[1] or 'WAIT', #ARGV == 1
for i = 2, #ARGV do wanted = wanted or ARGV[i] == state end
if not wanted then return 'other' end
if state == 'RUNNING' then
  -- A local task belongs to its worker, so there it is run again without passing through the queue.
  local is_local = h[3] == 'true'
  redis.call('HSET', KEYS[1], 'command', is_local and 'reload' or 'restart')
  nudge(ARGV[1], is_local and 'reload' or 'stop', h[4])
  return 'told'
end
if h[1] == 'WAIT' then return 'waits' end
forget_run(KEYS[1], 'local')
redis.call('HSET', KEYS[1], 'state', 'WAIT', 'last_update', stamp(now_ms()))
not_queued_yet(KEYS[1])
return 'again'
