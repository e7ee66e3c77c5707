-- Take a task out of the hands of its worker, which does not end it. `why`: STOP where it was stopped on purpose, or REQUEUE.
-- Returns what put_back makes of it; BACK_BEFORE, STOPPED_BEFORE or GONE_BEFORE where that is done, or was done by others;
-- LOST or OTHER_CLAIM where it is not the worker's own.
local function decide_leave(key, token, why)
  local h = fields(key, 'owner', 'state', 'command', 'local')
  if h and not h[1] and redis.call('EXISTS', key) == 0 then return Outcome.GONE_BEFORE end
  if not h or h[1] ~= token then return not_own(h, token) end
  if h[2] == State.WAIT then return Outcome.BACK_BEFORE end
  if h[2] == State.STOPPED then return Outcome.STOPPED_BEFORE end
  if h[2] ~= State.RUNNING then return Outcome.LOST end
  return put_back(key, why == Reason.STOP and h[3] ~= Command.RESTART and Command.STOP or h[3], h[4])
end
