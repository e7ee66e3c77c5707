-- Forget an ended task, at once or after a while. What was restarted meanwhile is left alone.
-- retention: seconds for which the hash stays readable  keeps: it is to stay findable instead
-- owner: it had when the handler saw it, '' where none did: one that has ended once more stands in the end queue again
-- in_steps: in many slots what waits may have got no further than the hash, and `kept` says that it is in the task set
-- Returns CLEANED, KEPT, WAITS or OTHER.
local function decide_discard(key, retention, keeps, owner, in_steps)
  local h = fields(key, 'state', 'owner')
  if not h then return Outcome.OTHER end
  if in_steps and h[1] == State.WAIT then return Outcome.WAITS end
  if not final(h[1]) or (owner ~= '' and owner ~= h[2]) then return Outcome.OTHER end
  if keeps then
    if in_steps then redis.call('HSET', key, 'kept', '1') end
    return Outcome.KEPT
  end
  if retention > 0 then redis.call('EXPIRE', key, retention) else redis.call('DEL', key) end
  return Outcome.CLEANED
end
