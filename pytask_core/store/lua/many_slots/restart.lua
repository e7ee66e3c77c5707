-- Run a task again, first step: a running one is told, any other one is to wait in the queue.
-- KEYS: task
-- ARGV: control
-- EACH: state
--   states in which to do so (none: any)
-- RESEND: yes
-- Returns 'missing', 'other' in another state, 'told' it runs, 'waits' already, 'again' it is to be queued.

local h = fields(KEYS.task, 'state', 'task', 'local', 'owner')
if not h or not (h[1] or h[2]) then return Outcome.MISSING end
local state, wanted = h[1] or State.WAIT, #ARGV < EACH.first
for i = EACH.first, #ARGV, EACH.step do wanted = wanted or ARGV[i + EACH.state] == state end
if not wanted then return Outcome.OTHER end
if state == State.RUNNING then
  -- A local task belongs to its worker, so there it is run again without passing through the queue.
  local is_local = h[3] == 'true'
  redis.call('HSET', KEYS.task, 'command', is_local and Command.RELOAD or Command.RESTART)
  nudge(ARGV.control, is_local and Command.RELOAD or Command.STOP, h[4])
  return Outcome.TOLD
end
if h[1] == State.WAIT then return Outcome.WAITS end
forget_run(KEYS.task, 'local')
redis.call('HSET', KEYS.task, 'state', State.WAIT, 'last_update', stamp(now_ms()))
not_queued_yet(KEYS.task)
return Outcome.AGAIN
