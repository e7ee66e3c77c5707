-- Take a task from a worker that is gone. Where the worker died (`most` > 0), that is charged to the task, and one with `most`
-- charges is convicted: it ends as EXCEPTION, with `verdict` as its output (JSON).
-- beat: when the worker was last known to live: it died soon after, however late that is found
-- hung: '1': the worker hung by this task; '0': by another, so that this one is not charged; '': that is not known
-- Returns what put_back makes of it, ENDED or KEPT; the same with BEFORE where that is done, or was done by others; ELSEWHERE or
-- PAST where it is not that worker's; then whether it is convicted, and whether it was present at many deaths.
local function decide_release(key, worker, most, window, verdict, beat, hung)
  local h = fields(key, 'owner', 'state', 'command', 'local', 'cleanup', 'kept')
  if h and not h[1] and redis.call('EXISTS', key) == 0 then return Outcome.GONE_BEFORE end
  if not h then return Outcome.ELSEWHERE end
  local state, stays = h[2], h[5] == 'false' or h[6]
  if not owned_by(h[1], worker) then return is_active(state, h[5], h[6]) and Outcome.ELSEWHERE or Outcome.PAST end
  if state == State.WAIT then return Outcome.BACK_BEFORE end
  if state == State.STOPPED then return Outcome.STOPPED_BEFORE end
  if final(state) then return (stays or redis.call('TTL', key) > 0) and Outcome.KEPT_BEFORE or Outcome.ENDED_BEFORE end
  if state ~= State.RUNNING then return Outcome.ELSEWHERE end
  local outcome = put_back(key, h[3], h[4])
  if outcome ~= Outcome.BACK or most == 0 or h[3] == Command.RESTART or hung == '0' then return outcome end
  local charges, deaths
  if hung == '1' then charges, deaths = charge_hang(key), 0 else charges, deaths = charge(key, beat, window) end
  if charges < most then return outcome, false, deaths >= 5 end
  redis.call('HSET', key, 'state', State.EXCEPTION, 'output', verdict)
  publish(key, opening_of(State.EXCEPTION) .. verdict .. '}')
  return stays and Outcome.KEPT or Outcome.ENDED, true
end
