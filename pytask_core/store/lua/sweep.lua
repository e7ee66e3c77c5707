-- Look at one page of the task set for ids that run without anybody renewing them (written by hand, by the original, or
-- left so by a crash), for ids that another program has made WAIT there, and for ids without a hash.
-- KEYS: monitor task_set new_queue running leases spare workers parked
-- ALSO: tasks held inboxes
-- ARGV: task_prefix limit task_timeout held_prefix unknown inbox_prefix
--   limit: page size
--   task_timeout: ms
--   unknown: the lease, in ms, of workers that have promised none
-- Returns {1 where the page was the last, {id, what became of it, …}}.

check(KEYS.new_queue, KEYS.task_set)
local page = redis.call('SSCAN', KEYS.task_set, redis.call('HGET', KEYS.monitor, 'cursor') or '0', 'COUNT', ARGV.limit)
local queue = looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.workers)
local told, to, asked = {}, {}, tonumber(ARGV.task_timeout)

local function lease(owner, id)
  local worker = string.match(owner, '^(.*):') or owner
  return patience(KEYS.leases, KEYS.workers, ARGV.held_prefix, worker, id, now_ms(), asked, ARGV.unknown)
end

for _, id in ipairs(page[2]) do
  local outcome, owner = decide_sweep(ARGV.task_prefix .. id, asked, lease, id)
  local stands = outcome == Outcome.WAITS
    and (redis.call('HEXISTS', KEYS.parked, id) == 1 or queue.enter(id, queue.spare(id) + 1))
  place(to, id, outcome, stands)
  local worker = string.match(owner, '^(.*):')
  if worker and PLACE.freed(outcome) then let_go(ARGV.held_prefix .. worker, KEYS.running, {id}) end
  if outcome ~= Outcome.FINE and not stands then append(told, id, outcome) end
end
put(to, 'RPUSH', KEYS.new_queue, KEYS.task_set)
redis.call('HSET', KEYS.monitor, 'cursor', page[1])
return {page[1] == '0' and 1 or 0, told}
