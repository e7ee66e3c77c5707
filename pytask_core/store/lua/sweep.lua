-- Look at one page of the task set for ids that run without anybody renewing them (written by hand, by the original, or
-- left so by a crash), for ids that another program has made WAIT there, and for ids without a hash.
-- KEYS[1] monitor (HASH)  KEYS[2] task set (SET)  KEYS[3] new queue (LIST)  KEYS[4] running (STRING)
-- KEYS[5] leases (HASH)  KEYS[6] spare (HASH)  KEYS[7] workers (ZSET)  KEYS[8] parked (HASH)
-- ARGV[1] task prefix  ARGV[2] page size  ARGV[3] task_timeout, ms  ARGV[4] prefix of the sets of held ids
-- ARGV[5] the lease, in ms, of workers that have promised none  ARGV[6] prefix of inboxes
-- Returns {1 where the page was the last, {id, what became of it, …}}.

check(KEYS[3], KEYS[2])
local prefix, now = ARGV[1], now_ms()
local page = redis.call('SSCAN', KEYS[2], redis.call('HGET', KEYS[1], 'cursor') or '0', 'COUNT', ARGV[2])
local queue = looker(KEYS[3], KEYS[6], ARGV[6], KEYS[7])
local told = {}

-- Whether a task has not been renewed for too long: by the promise of its worker, where a worker has it.
local function is_stale(id, last_update, owner)
  local asked = tonumber(ARGV[3])
  local silence = now - renewed_at(prefix .. id, last_update, now, asked)
  if silence <= asked or not owner then return silence > asked end
  local worker = string.match(owner, '^(.*):') or owner
  return silence > patience(KEYS[5], KEYS[7], ARGV[4], worker, id, now, asked, ARGV[5])
end

for _, id in ipairs(page[2]) do
  local key = prefix .. id
  local h = fields(key, 'state', 'last_update', 'local', 'owner', 'command')
  if h and h[1] == 'RUNNING' and is_stale(id, h[2], h[4]) then
    local worker = string.match(h[4] or '', '^(.*):')
    if worker then let_go(ARGV[4] .. worker, KEYS[4], {id}) end
    local state = put_back(key, h[5], h[3])
    if state ~= 'STOPPED' then redis.call('SREM', KEYS[2], id) end
    if state == 'WAIT' then redis.call('RPUSH', KEYS[3], id) end
    append(told, id, state)
  elseif h and h[1] == 'WAIT' and is_stale(id, h[2], h[4]) then
    redis.call('SREM', KEYS[2], id)
    if redis.call('HEXISTS', KEYS[8], id) == 0 and not queue.enter(id, queue.spare(id) + 1) then
      redis.call('RPUSH', KEYS[3], id)
      append(told, id, 'waits')
    end
  elseif not h or (not h[1] and redis.call('EXISTS', key) == 0) then
    redis.call('SREM', KEYS[2], id)
    append(told, id, 'missing')
  end
end
redis.call('HSET', KEYS[1], 'cursor', page[1])
return {page[1] == '0' and 1 or 0, told}
