-- End a task that has been parked for too long: EXCEPTION, and the final event.
-- in_steps: in many slots this may have been done before, and its id not yet put where it goes
-- Returns ENDED, ENDED_BEFORE, KEPT, or OTHER where it does not wait.
local function decide_expire(key, output, in_steps)
  local h = fields(key, 'state', 'cleanup', 'task', 'output')
  if not h then return Outcome.OTHER end
  local keeps = h[2] == 'false'
  if in_steps and h[1] == State.EXCEPTION and h[4] == output then
    return keeps and Outcome.KEPT or Outcome.ENDED_BEFORE
  end
  if h[1] ~= State.WAIT and (h[1] or not h[3]) then return Outcome.OTHER end
  redis.call('HSET', key, 'state', State.EXCEPTION, 'output', output, 'last_update', stamp(now_ms()))
  publish(key, '{"event": "exception", "data": ' .. output .. '}')
  return keeps and Outcome.KEPT or Outcome.ENDED
end
