-- Ids that came before their hash, those that came first first. Of one slot; used in both regimes.
-- KEYS: early
-- ARGV: limit over
--   limit: ids at most
--   over: ms after which one is no longer waited for
-- RESEND: yes
-- Returns {id, 1 where its time is over, …}.

local out, now = {}, now_ms()
local found = redis.call('ZRANGE', KEYS.early, 0, ARGV.limit - 1, 'WITHSCORES')
for i = 1, #found, 2 do out[i], out[i + 1] = found[i], now - found[i + 1] >= tonumber(ARGV.over) and 1 or 0 end
return out
