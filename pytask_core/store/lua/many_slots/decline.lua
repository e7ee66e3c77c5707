-- Put what a worker was given and cannot begin back to the front of the new queue: the oldest, in order. Of one slot; used
-- in both regimes.
-- KEYS[1] new queue (LIST)  KEYS[2] inbox (LIST)  in many slots also: KEYS[3] waiting (HASH)  KEYS[4] spare (HASH)
-- ARGV[1] ids at most
-- Returns how many.

redis.call('LLEN', KEYS[1])
local ids = redis.call('RPOP', KEYS[2], ARGV[1]) or {}
for at = #ids, 1, -1 do
  -- As in unbox.lua. On a cluster one key more stands behind those of one slot, which is KEYS[3] there.
  if KEYS[4] and redis.call('HEXISTS', KEYS[4], ids[at]) == 0 then redis.call('HSETNX', KEYS[3], ids[at], 1) end
  redis.call('RPUSH', KEYS[1], ids[at])
end
return #ids
