-- Put the youngest ids that are parked under a name back to the front of the new queue.
-- KEYS: new_queue parked
-- ALSO: tasks
-- ARGV: task_prefix name limit
--   limit: ids at most
-- Returns {how many, how many are left}. What does not wait any more is left out.

redis.call('LLEN', KEYS.new_queue)
local count = 0
for _, id in ipairs(youngest(KEYS.parked, ARGV.name, ARGV.limit)) do
  local h = fields(ARGV.task_prefix .. id, 'state')
  if h and (not h[1] or h[1] == State.WAIT) then
    redis.call('RPUSH', KEYS.new_queue, id)
    count = count + 1
  end
end
return {count, redis.call('ZCARD', parked_under(KEYS.parked, ARGV.name))}
