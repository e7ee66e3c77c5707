-- Renew the last_update of one task.
-- KEYS[1] the task (HASH)
-- ARGV[1] token  ARGV[2] poison_window, ms
-- Returns '', 'lost' where it is no longer the worker's own, 'left' where the worker itself or who hands it back is just
-- taking it out of its hands and may not be through, or the command that is recorded for it.

local now = now_ms()
local h = fields(KEYS[1], 'owner', 'state', 'command', 'charges', 'since')
if not h or h[1] ~= ARGV[1] then return 'lost' end
if h[2] ~= 'RUNNING' then return 'left' end
redis.call('HSET', KEYS[1], 'last_update', stamp(now))
if h[4] and standing(h[4], h[5], now, tonumber(ARGV[2])) == 0 then redis.call('HDEL', KEYS[1], 'charges', 'since') end
return h[3] or ''
