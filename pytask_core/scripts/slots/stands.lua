-- Which ids stand in the new queue. KEYS[1] new queue (LIST)  KEYS[2] waiting (HASH)  KEYS[3] removed (SET)  ARGV: ids
-- Returns for each 1 or 0.

local out = {}
for i, id in ipairs(ARGV) do
  local there = redis.call('HEXISTS', KEYS[2], id) == 1 and redis.call('SISMEMBER', KEYS[3], id) == 0
  out[i] = (there or stands_in(KEYS[1], KEYS[3], id)) and 1 or 0
end
return out
