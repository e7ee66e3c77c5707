-- Forget a task in whatever state: its key, of any type. A worker that runs it is told, and finds its claim gone.
-- Returns GONE or UNKNOWN, its owner or '', and its state.
local function decide_remove(key, control)
  local h = fields(key, 'state', 'owner') or {}
  local known = redis.call('DEL', key)
  if h[1] == State.RUNNING then nudge(control, Command.STOP, h[2]) end
  return known == 1 and Outcome.GONE or Outcome.UNKNOWN, h[2] or '', h[1]
end
