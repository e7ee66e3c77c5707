-- Renew the last_update of one task.
-- KEYS: task
-- ARGV: token poison_window
--   poison_window: ms
-- RESEND: yes
-- Returns '', 'lost' where it is no longer the worker's own, 'left' where the worker itself or who hands it back is just
-- taking it out of its hands and may not be through, or the command that is recorded for it.

local now = now_ms()
local h = fields(KEYS.task, 'owner', 'state', 'command', 'charges', 'since')
if not h or h[1] ~= ARGV.token then return Outcome.LOST end
if h[2] ~= State.RUNNING then return Outcome.LEFT end
redis.call('HSET', KEYS.task, 'last_update', stamp(now))
if h[4] and standing(h[4], h[5], now, tonumber(ARGV.poison_window)) == 0 then redis.call('HDEL', KEYS.task, 'charges', 'since') end
return h[3] or ''
