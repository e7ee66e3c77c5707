-- End a task, once: final state and output, and the final event, which begins with `opening`. now: as last_update has it
-- Returns ENDED, KEPT where it stays findable, or, where a restart was asked for, what put_back makes of it; ENDED_BEFORE,
-- KEPT_BEFORE or BACK_BEFORE where that is done; LOST or OTHER_CLAIM where it is not the worker's own.
local function decide_finish(key, token, state, output, opening, now)
  local h = fields(key, 'owner', 'state', 'cleanup', 'command')
  if not h or h[1] ~= token then return not_own(h, token) end
  if h[2] ~= State.RUNNING then
    if h[2] == State.WAIT then return Outcome.BACK_BEFORE end
    if h[2] ~= state then return Outcome.LOST end
    -- With an expiry Cleanup has had it already.
    return (h[3] == 'false' or redis.call('TTL', key) > 0) and Outcome.KEPT_BEFORE or Outcome.ENDED_BEFORE
  end
  -- It ended by itself before the restart reached it, and is to run again.
  if h[4] == Command.RESTART then return put_back(key, h[4], redis.call('HGET', key, 'local')) end
  redis.call('HSET', key, 'state', state, 'output', output, 'last_update', now)
  if h[4] then redis.call('HDEL', key, 'command') end
  publish(key, opening .. output .. '}')
  return h[3] == 'false' and Outcome.KEPT or Outcome.ENDED
end
