-- End tasks that have been parked under a name for too long: EXCEPTION, to the end queue, and the final event.
-- KEYS[1] task set (SET)  KEYS[2] end queue (LIST)  KEYS[3] parked (HASH)
-- ARGV[1] task prefix  ARGV[2] name  ARGV[3] ms after which it is too long  ARGV[4] ids at most  ARGV[5] output (JSON)
-- Returns {how many have ended, 1 where there may be more}.

redis.call('SCARD', KEYS[1])
redis.call('LLEN', KEYS[2])
local parked, now, count = KEYS[3], now_ms(), 0
local found = overdue(parked, ARGV[2], ARGV[3], ARGV[4])
for i = 1, #found, 2 do
  local id = found[i]
  unpark(parked, id)
  local key = ARGV[1] .. id
  local h = fields(key, 'state', 'cleanup', 'task')
  if h and (h[1] == 'WAIT' or (not h[1] and h[3])) then
    redis.call('HSET', key, 'state', 'EXCEPTION', 'output', ARGV[5], 'last_update', stamp(now))
    redis.call('PUBLISH', key, '{"event": "exception", "data": ' .. ARGV[5] .. '}')
    if h[2] == 'false' then redis.call('SADD', KEYS[1], id) else redis.call('LPUSH', KEYS[2], id) end
    count = count + 1
  end
end
return {count, #found == ARGV[4] * 2 and 1 or 0}
