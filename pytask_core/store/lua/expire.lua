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
local count, to = 0, {}
local found = overdue(KEYS.parked, ARGV.name, ARGV.too_long, ARGV.limit)
for i = 1, #found, 2 do
  local id = found[i]
  unpark(KEYS.parked, id)
  local outcome = decide_expire(ARGV.task_prefix .. id, ARGV.output)
  if outcome ~= Outcome.OTHER then count = count + 1 end
  place(to, id, outcome)
end
put(to, nil, nil, KEYS.task_set, KEYS.end_queue)
return {count, #found == ARGV.limit * 2 and 1 or 0}
