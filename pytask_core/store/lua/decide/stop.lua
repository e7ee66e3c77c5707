-- Record that a task is to stop. One that waits is stopped here and now and never starts.
-- withdraw: called where the task does not run, with its state; sees that no entry starts it, and returns how many of them
-- other programs have pushed
-- Returns UNKNOWN, TOLD, STOPPED, STOPPED_HALF, STOPPED_BEFORE, or OTHER where it had ended.
local function decide_stop(key, control, withdraw)
  local h = fields(key, 'state', 'task', 'owner')
  if not h or not (h[1] or h[2]) then return Outcome.UNKNOWN end
  if h[1] == State.RUNNING then
    redis.call('HSET', key, 'command', Command.STOP)
    nudge(control, Command.STOP, h[3])
    return Outcome.TOLD
  end
  local waits, pushed = not h[1] or h[1] == State.WAIT, withdraw(h[1])
  local is_half = redis.call('HEXISTS', key, 'unqueued') == 1
  -- What has ended or stopped waits again where another program has pushed it: the original does so as it is stopped.
  if not waits and pushed == 0 then
    if h[1] ~= State.STOPPED then return Outcome.OTHER end
    return is_half and Outcome.STOPPED_HALF or Outcome.STOPPED_BEFORE
  end
  if not waits then forget_run(key) end
  redis.call('HSET', key, 'state', State.STOPPED)
  return is_half and Outcome.STOPPED_HALF or Outcome.STOPPED
end
