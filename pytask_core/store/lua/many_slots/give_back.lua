-- A claim has failed on its way: put what stands in the worker's inbox back to the front of the new queue, for others.
-- KEYS[1] new queue (LIST)  KEYS[2] inbox (LIST)  KEYS[3] waiting (HASH)  KEYS[4] the worker's last claim (STRING)
-- KEYS[5] spare (HASH)
-- ARGV[1] number of the claim  ARGV[2] '1': some of it may be claimed, so that its entry is to start nothing after its end
-- Returns the ids. The claim counts as done from then on: what was sent of it and is executed late does nothing.

local mark = ARGV[1] * 2
if tonumber(redis.call('GET', KEYS[4]) or 0) > mark then return {} end
redis.call('LLEN', KEYS[1])
local ids = redis.call('LRANGE', KEYS[2], 0, -1)
for _, id in ipairs(ids) do
  if ARGV[2] == '1' and redis.call('HEXISTS', KEYS[5], id) == 0 then redis.call('HSETNX', KEYS[3], id, 1) end
  redis.call('RPUSH', KEYS[1], id)
end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[4], string.format('%d', mark + 1))
return ids
