-- Claim tasks for a worker: RUNNING, with its token, in the task set and in the worker's hands.
-- KEYS[1] new queue (LIST)  KEYS[2] inbox of the worker (LIST)  KEYS[3] task set (SET)  KEYS[4] held by the worker (SET)
-- KEYS[5] running (STRING)  KEYS[6] workers (ZSET)  KEYS[7] spare (HASH)  KEYS[8] suspect of the worker (STRING)
-- KEYS[9] number of the worker's last claim (STRING)  KEYS[10] early (ZSET)
-- ARGV[1] task prefix  ARGV[2] worker  ARGV[3] token  ARGV[4] room: ids wanted at most
-- ARGV[5] '1': take a part of the queue even when the worker holds more than its share
-- ARGV[6] '1': the reply to this token was lost, give again what it claimed
-- ARGV[7] max_deliveries, 0: no limit  ARGV[8] poison_window, ms
-- ARGV[9] prefix of inboxes
-- ARGV[10] '1': only what lies in the inbox; where nothing does, nothing is done, as the worker may be gone by now
-- ARGV[11] bytes of data that a worker takes  ARGV[12] bytes of all data together after which no more is claimed
-- Returns {claimed: {id, task, data or, of more than it takes, their number, last_update where it waited, …}, passed over: {id, reason, …}, ids left in the queue,
-- 1 where the worker was not registered any more, now in ms}.

local new, inbox, active, held, running, workers, spare, suspect, last = unpack(KEYS)
local prefix, worker, token, room = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local most, window = tonumber(ARGV[7]), tonumber(ARGV[8])
local cap, budget = tonumber(ARGV[11]), tonumber(ARGV[12])
local now, claimed, passed, mine, later = now_ms(), {}, {}, {}, {}

local queue = redis.call('HLEN', spare) > 0 and looker(new, spare, ARGV[9], workers)

-- Why an id from the queue is not to run, or nil. `h` = task, data, state, local, ….
local function why_not(key, id, h)
  if not h then return 'wrong type' end
  local state = h[3]
  local is_there = h[1] or state or redis.call('EXISTS', key) == 1
  if h[4] == 'true' and state ~= 'RUNNING' then return 'local' end
  if is_there and (not state or state == 'WAIT') then return nil end
  local is_spare = queue and queue.pass(id)
  if state == 'RUNNING' then return 'running' end
  if is_spare then return state == 'STOPPED' and 'stopped' or state and 'ended' or 'removed' end
  if not is_there then return 'missing' end
end

-- Begin the run of a task that was present at a death. False: one more would convict it, and the worker has such a one
-- already; run side by side they would be convicted together.
local function tolerates(key, id, charges)
  if most > 0 and (tonumber(charges) or 0) >= most - 1 then
    if has_suspect(suspect, prefix, worker, now, window) then return false end
    redis.call('SET', suspect, id)
  end
  redis.call('HSET', key, 'since', now)
  return true
end

local is_taken = ARGV[10] == '1'
if is_taken and redis.call('LLEN', inbox) == 0 then return {claimed, passed, redis.call('LLEN', new), 0, now} end
-- A claim that a frozen server gets to only after it was sent anew would take tasks that nobody knows of.
local number = tonumber(string.match(token, ':(%d+)$'))
if ARGV[6] ~= '1' and number and number <= tonumber(redis.call('GET', last) or 0) then return {claimed, passed, 0, 0, now} end
if number then redis.call('SET', last, number) end

if ARGV[6] == '1' then
  for _, id in ipairs(redis.call('SMEMBERS', held)) do
    local h = fields(prefix .. id, 'task', 'data', 'state', 'owner')
    if h and h[4] == token and h[3] == 'RUNNING' then append(claimed, id, h[1], bounded(h[2], cap), false) end
  end
  if #claimed > 0 then return {claimed, passed, redis.call('LLEN', new), 0, now} end
end

check(new, active, held, running)
redis.call('GET', suspect)
local anew = redis.call('ZADD', workers, now, worker)
local ids = redis.call('RPOP', inbox, room) or {}
local share = share_of(redis.call('LLEN', new), redis.call('SCARD', held), tonumber(redis.call('GET', running) or 0),
  redis.call('ZCARD', workers), ARGV[5] == '1')
if share > room - #ids then share = room - #ids end
if share > 0 and not is_taken then extend(ids, redis.call('RPOP', new, share)) end

local stamped = stamp(now)
local taken = #ids
for at, id in ipairs(ids) do
  if budget <= 0 then
    taken = at - 1
    break
  end
  local key = prefix .. id
  local h = fields(key, 'task', 'data', 'state', 'local', 'charges', 'last_update', 'owner', 'output')
  local reason = why_not(key, id, h)
  local again = h and h[3] and h[3] ~= 'WAIT'
  -- Whether we have put it back. Another program that queues it by its state knows no such mark, and begins a clean run.
  local is_ours = h and h[7] and not again and redis.call('HEXISTS', key, 'requeued') == 1
  if reason then
    if reason == 'missing' then
      -- A client's pipeline may bring the id before its hash.
      local noted = redis.pcall('ZADD', KEYS[10], 'NX', now, id)
      if type(noted) == 'number' then reason = 'early' end
    end
    append(passed, id, reason)
  elseif h[5] and is_ours and not tolerates(key, id, h[5]) then
    later[#later + 1] = id
  else
    if is_ours then
      redis.call('HDEL', key, 'requeued')
    elseif again or h[7] or h[8] then
      forget_run(key)
    end
    redis.call('HSET', key, 'state', 'RUNNING', 'owner', token, 'last_update', stamped)
    if queue then queue.recount(id) end
    mine[#mine + 1] = id
    -- When it was queued, where whoever did so wrote that down; foreign programs do not.
    local data = h[2]
    if data then
      budget = budget - #data
      if #data > cap then data = #data end
    end
    append(claimed, id, h[1], data, h[3] == 'WAIT' and (is_ours or not h[7]) and h[6])
  end
end
if #mine > 0 then
  redis.call('SADD', active, unpack(mine))
  redis.call('INCRBY', running, redis.call('SADD', held, unpack(mine)))
end
-- To the front, in the order in which they stood there.
for at = #ids, taken + 1, -1 do redis.call('RPUSH', new, ids[at]) end
if #later > 0 then redis.call('LPUSH', new, unpack(later)) end
local left = redis.call('LLEN', new)
if queue and left == 0 then queue.tidy() end
return {claimed, passed, left, anew, now}
