-- Renew a task, and forgive what counts against it after `window` ms. now: as last_update has it
-- Returns FINE, or the command that is recorded for it; LEFT where it is just being taken out of the worker's hands, by the
-- worker itself or by others; LOST or OTHER_CLAIM where it is not the worker's own.
local function decide_renew(key, token, window, now)
  local h = fields(key, 'owner', 'state', 'command', 'charges', 'since')
  if not h or h[1] ~= token then return not_own(h, token) end
  if h[2] ~= State.RUNNING then return Outcome.LEFT end
  redis.call('HSET', key, 'last_update', now)
  if h[4] and standing(h[4], h[5], now_ms(), window) == 0 then redis.call('HDEL', key, 'charges', 'since') end
  return h[3] or Outcome.FINE
end
