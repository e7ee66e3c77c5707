-- Put what stands in the inbox of a worker that is gone back to the front of the new queue.
-- KEYS[1] new queue (LIST)  KEYS[2] inbox (LIST)  KEYS[3] waiting (HASH)  KEYS[4] the worker's last claim (STRING)
-- KEYS[5] inboxes (SET)  KEYS[6] spare (HASH)
-- ARGV[1] worker  ARGV[2] '1': and forget it
-- Returns how many.

local ids = redis.call('LRANGE', KEYS[2], 0, -1)
redis.call('LLEN', KEYS[1])
for _, id in ipairs(ids) do
  -- Its task is perhaps about to be queued as well, and one entry is enough.
  if redis.call('HEXISTS', KEYS[6], id) == 0 then redis.call('HSETNX', KEYS[3], id, 1) end
  redis.call('RPUSH', KEYS[1], id)
end
redis.call('DEL', KEYS[2])
if ARGV[2] == '1' then
  redis.call('DEL', KEYS[4])
  redis.call('SREM', KEYS[5], ARGV[1])
end
return #ids
