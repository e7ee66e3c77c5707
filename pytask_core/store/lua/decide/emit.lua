-- Publish events of a task, `payloads` from `first` to `last`. Not where it is not the worker's own any more, and not where it
-- has ended: nothing comes after the final event.
-- Returns FINE or LOST.
local function decide_emit(key, token, payloads, first, last)
  local h = fields(key, 'owner', 'state')
  if not h or h[1] ~= token or h[2] ~= State.RUNNING then return Outcome.LOST end
  for i = first, last do publish(key, payloads[i]) end
  return Outcome.FINE
end
