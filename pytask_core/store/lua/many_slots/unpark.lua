-- Put the youngest ids that are parked under a name back to the front of the new queue.
-- KEYS: new_queue parked waiting
-- ALSO: parked
-- ARGV: name limit
--   limit: ids at most
-- RESEND: yes
-- Returns {how many, how many are left}.

redis.call('LLEN', KEYS.new_queue)
redis.call('HLEN', KEYS.waiting)
local ids = youngest(KEYS.parked, ARGV.name, ARGV.limit)
for _, id in ipairs(ids) do
  redis.call('HINCRBY', KEYS.waiting, id, 1)
  redis.call('RPUSH', KEYS.new_queue, id)
end
return {#ids, redis.call('ZCARD', parked_under(KEYS.parked, ARGV.name))}
