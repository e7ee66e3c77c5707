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
local prefix, now = ARGV.task_prefix, now_ms()
local page = redis.call('SSCAN', KEYS.task_set, redis.call('HGET', KEYS.monitor, 'cursor') or '0', 'COUNT', ARGV.limit)
local queue = looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.workers)
local told = {}

-- Whether a task has not been renewed for too long: by the promise of its worker, where a worker has it.
local function is_stale(id, last_update, owner)
  local asked = tonumber(ARGV.task_timeout)
  local silence = now - renewed_at(prefix .. id, last_update, now, asked)
  if silence <= asked or not owner then return silence > asked end
  local worker = string.match(owner, '^(.*):') or owner
  return silence > patience(KEYS.leases, KEYS.workers, ARGV.held_prefix, worker, id, now, asked, ARGV.unknown)
end

for _, id in ipairs(page[2]) do
  local key = prefix .. id
  local h = fields(key, 'state', 'last_update', 'local', 'owner', 'command')
  if h and h[1] == State.RUNNING and is_stale(id, h[2], h[4]) then
    local worker = string.match(h[4] or '', '^(.*):')
    if worker then let_go(ARGV.held_prefix .. worker, KEYS.running, {id}) end
    local outcome = put_back(key, h[5], h[3])
    if outcome ~= Outcome.STOPPED then redis.call('SREM', KEYS.task_set, id) end
    if outcome == Outcome.BACK then redis.call('RPUSH', KEYS.new_queue, id) end
    append(told, id, outcome)
  elseif h and h[1] == State.WAIT and is_stale(id, h[2], h[4]) then
    redis.call('SREM', KEYS.task_set, id)
    if redis.call('HEXISTS', KEYS.parked, id) == 0 and not queue.enter(id, queue.spare(id) + 1) then
      redis.call('RPUSH', KEYS.new_queue, id)
      append(told, id, Outcome.WAITS)
    end
  elseif not h or (not h[1] and redis.call('EXISTS', key) == 0) then
    redis.call('SREM', KEYS.task_set, id)
    append(told, id, Outcome.MISSING)
  end
end
redis.call('HSET', KEYS.monitor, 'cursor', page[1])
return {page[1] == '0' and 1 or 0, told}
