-- Give a Cleanup what stands in its cleaning list, filled up from the end queue. Nothing leaves the list before it is
-- discarded, so that a Cleanup that dies loses nothing.
-- KEYS[1] end queue (LIST)  KEYS[2] cleaning (LIST)
-- ARGV[1] task prefix  ARGV[2] ids at most  ARGV[3] '1': with their hashes, for a handler
-- Returns {id, its hash as {field, value, …} or {}, …}, the first ended first.

local out, room = {}, ARGV[2] - redis.call('LLEN', KEYS[2])
if room > 0 then
  for _, id in ipairs(redis.call('RPOP', KEYS[1], room) or {}) do redis.call('LPUSH', KEYS[2], id) end
end
local ids = redis.call('LRANGE', KEYS[2], -ARGV[2], -1)
for i = #ids, 1, -1 do
  local id = ids[i]
  local hash = ARGV[3] == '1' and redis.pcall('HGETALL', ARGV[1] .. id) or {}
  append(out, id, hash.err and {} or hash)
end
return out
