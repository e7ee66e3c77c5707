-- Ids that came before their hash, those that came first first. Of one slot; used in both regimes.
-- KEYS[1] early (ZSET id -> since when, in ms)
-- ARGV[1] ids at most  ARGV[2] ms after which one is no longer waited for
-- Returns {id, 1 where its time is over, …}.

local out, now = {}, now_ms()
local found = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
for i = 1, #found, 2 do out[i], out[i + 1] = found[i], now - found[i + 1] >= tonumber(ARGV[2]) and 1 or 0 end
return out
