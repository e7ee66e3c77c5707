-- Put the youngest ids that are parked under a name back to the front of the new queue.
-- KEYS[1] new queue (LIST)  KEYS[2] parked (HASH)  KEYS[3] waiting (HASH)
-- ARGV[1] name  ARGV[2] ids at most
-- Returns {how many, how many are left}.

redis.call('LLEN', KEYS[1])
redis.call('HLEN', KEYS[3])
local ids = youngest(KEYS[2], ARGV[1], ARGV[2])
for _, id in ipairs(ids) do
  redis.call('HINCRBY', KEYS[3], id, 1)
  redis.call('RPUSH', KEYS[1], id)
end
return {#ids, redis.call('ZCARD', parked_under(KEYS[2], ARGV[1]))}
