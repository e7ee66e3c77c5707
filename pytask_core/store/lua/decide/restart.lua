-- Run a task again: a running one is told, any other one is to wait.
-- args: from `first` on the states in which to do so (none: any)  in_steps: as in start.lua
-- Returns UNKNOWN, OTHER in another state, TOLD, WAITS or AGAIN.
local function decide_restart(key, control, args, first, in_steps)
  local h = fields(key, 'state', 'task', 'local', 'owner')
  if not h or not (h[1] or h[2]) then return Outcome.UNKNOWN end
  local state, wanted = h[1] or State.WAIT, #args < first
  for i = first, #args do wanted = wanted or args[i] == state end
  if not wanted then return Outcome.OTHER end
  if state == State.RUNNING then
    -- A local task belongs to its worker, so there it is run again without passing through the queue.
    local is_local = h[3] == 'true'
    redis.call('HSET', key, 'command', is_local and Command.RELOAD or Command.RESTART)
    nudge(control, is_local and Command.RELOAD or Command.STOP, h[4])
    return Outcome.TOLD
  end
  if h[1] == State.WAIT then return Outcome.WAITS end
  forget_run(key, 'local', in_steps and 'local' or 'owner')
  redis.call('HSET', key, 'state', State.WAIT, 'last_update', stamp(now_ms()))
  if in_steps then not_queued_yet(key) end
  return Outcome.AGAIN
end
