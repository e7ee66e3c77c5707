-- Put the youngest ids that are parked under a name back to the front of the new queue.
-- KEYS[1] new queue (LIST)  KEYS[2] parked (HASH)
-- ARGV[1] task prefix  ARGV[2] name  ARGV[3] ids at most
-- Returns {how many, how many are left}. What does not wait any more is left out.

redis.call('LLEN', KEYS[1])
local count = 0
for _, id in ipairs(youngest(KEYS[2], ARGV[2], ARGV[3])) do
  local h = fields(ARGV[1] .. id, 'state')
  if h and (not h[1] or h[1] == 'WAIT') then
    redis.call('RPUSH', KEYS[1], id)
    count = count + 1
  end
end
return {count, redis.call('ZCARD', parked_under(KEYS[2], ARGV[2]))}
