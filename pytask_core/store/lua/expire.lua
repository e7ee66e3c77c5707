-- End tasks that have been parked under a name for too long: EXCEPTION, to the end queue, and the final event.
-- KEYS: task_set end_queue parked
-- ALSO: tasks
-- ARGV: task_prefix name too_long limit output
--   too_long: ms after which it is too long
--   limit: ids at most
--   output: output (JSON)
-- Returns {how many have ended, 1 where there may be more}.

redis.call('SCARD', KEYS.task_set)
redis.call('LLEN', KEYS.end_queue)
local parked, now, count = KEYS.parked, now_ms(), 0
local found = overdue(parked, ARGV.name, ARGV.too_long, ARGV.limit)
for i = 1, #found, 2 do
  local id = found[i]
  unpark(parked, id)
  local key = ARGV.task_prefix .. id
  local h = fields(key, 'state', 'cleanup', 'task')
  if h and (h[1] == State.WAIT or (not h[1] and h[3])) then
    redis.call('HSET', key, 'state', State.EXCEPTION, 'output', ARGV.output, 'last_update', stamp(now))
    redis.call('PUBLISH', key, '{"event": "exception", "data": ' .. ARGV.output .. '}')
    if h[2] == 'false' then redis.call('SADD', KEYS.task_set, id) else redis.call('LPUSH', KEYS.end_queue, id) end
    count = count + 1
  end
end
return {count, #found == ARGV.limit * 2 and 1 or 0}
