-- Give a Cleanup what stands in its cleaning list, filled up from the end queue. Nothing leaves the list before it is
-- discarded, so that a Cleanup that dies loses nothing.
-- KEYS: end_queue cleaning
-- ALSO: tasks
-- ARGV: task_prefix limit with_hashes
--   limit: ids at most
--   with_hashes: '1': with their hashes, for a handler
-- Returns {id, its hash as {field, value, …} or {}, …}, the first ended first.

local out, room = {}, ARGV.limit - redis.call('LLEN', KEYS.cleaning)
if room > 0 then
  for _, id in ipairs(redis.call('RPOP', KEYS.end_queue, room) or {}) do redis.call('LPUSH', KEYS.cleaning, id) end
end
local ids = redis.call('LRANGE', KEYS.cleaning, -ARGV.limit, -1)
for i = #ids, 1, -1 do
  local id = ids[i]
  local hash = ARGV.with_hashes == '1' and redis.pcall('HGETALL', ARGV.task_prefix .. id) or {}
  append(out, id, hash.err and {} or hash)
end
return out
