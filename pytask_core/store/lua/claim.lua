-- Claim tasks for a worker: RUNNING, with its token, in the task set and in the worker's hands.
-- KEYS: new_queue inbox task_set held running workers spare suspect last_claim early
-- ALSO: tasks inboxes
-- ARGV: task_prefix worker token room insist again max_deliveries poison_window inbox_prefix is_taken max_payload reply
--   room: ids wanted at most
--   insist: '1': take a part of the queue even when the worker holds more than its share
--   again: '1': the reply to this token was lost, give again what it claimed
--   max_deliveries: 0: no limit
--   poison_window: ms
--   is_taken: '1': only what lies in the inbox; where nothing does, nothing is done, as the worker may be gone by now
--   max_payload: bytes of data that a worker takes
--   reply: bytes of all data together after which no more is claimed
-- Returns {claimed: {id, task, data or, of more than it takes, their number, last_update where it waited, …}, passed
-- over: {id, reason, …}, ids left in the queue, 1 where the worker was not registered any more, now in ms}.

local new, inbox, active, held, running = KEYS.new_queue, KEYS.inbox, KEYS.task_set, KEYS.held, KEYS.running
local workers, spare, suspect, last = KEYS.workers, KEYS.spare, KEYS.suspect, KEYS.last_claim
local prefix, worker, token, room = ARGV.task_prefix, ARGV.worker, ARGV.token, tonumber(ARGV.room)
local most, window = tonumber(ARGV.max_deliveries), tonumber(ARGV.poison_window)
local cap, budget = tonumber(ARGV.max_payload), tonumber(ARGV.reply)
local now, claimed, passed, mine, later = now_ms(), {}, {}, {}, {}

local queue = redis.call('HLEN', spare) > 0 and looker(new, spare, ARGV.inbox_prefix, workers)

-- Why an id from the queue is not to run, or nil. `h` = task, data, state, local, ….
local function why_not(key, id, h)
  if not h then return Passed.WRONG_TYPE end
  local state = h[3]
  local is_there = h[1] or state or redis.call('EXISTS', key) == 1
  if h[4] == 'true' and state ~= State.RUNNING then return Passed.LOCAL end
  if is_there and (not state or state == State.WAIT) then return nil end
  local is_spare = queue and queue.pass(id)
  if state == State.RUNNING then return Passed.RUNNING end
  if is_spare then return state == State.STOPPED and Passed.STOPPED or state and Passed.ENDED or Passed.REMOVED end
  if not is_there then return Passed.MISSING end
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

local is_taken = ARGV.is_taken == '1'
if is_taken and redis.call('LLEN', inbox) == 0 then return {claimed, passed, redis.call('LLEN', new), 0, now} end
-- A claim that a frozen server gets to only after it was sent anew would take tasks that nobody knows of.
local number = tonumber(string.match(token, ':(%d+)$'))
if ARGV.again ~= '1' and number and number <= tonumber(redis.call('GET', last) or 0) then return {claimed, passed, 0, 0, now} end
if number then redis.call('SET', last, number) end

if ARGV.again == '1' then
  for _, id in ipairs(redis.call('SMEMBERS', held)) do
    local h = fields(prefix .. id, 'task', 'data', 'state', 'owner')
    if h and h[4] == token and h[3] == State.RUNNING then append(claimed, id, h[1], bounded(h[2], cap), false) end
  end
  if #claimed > 0 then return {claimed, passed, redis.call('LLEN', new), 0, now} end
end

check(new, active, held, running)
redis.call('GET', suspect)
local anew = redis.call('ZADD', workers, now, worker)
local ids = redis.call('RPOP', inbox, room) or {}
local share = share_of(redis.call('LLEN', new), redis.call('SCARD', held), tonumber(redis.call('GET', running) or 0),
  redis.call('ZCARD', workers), ARGV.insist == '1')
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
  local again = h and h[3] and h[3] ~= State.WAIT
  -- Whether we have put it back. Another program that queues it by its state knows no such mark, and begins a clean run.
  local is_ours = h and h[7] and not again and redis.call('HEXISTS', key, 'requeued') == 1
  if reason then
    if reason == Passed.MISSING then
      -- A client's pipeline may bring the id before its hash.
      local noted = redis.pcall('ZADD', KEYS.early, 'NX', now, id)
      if type(noted) == 'number' then reason = Passed.EARLY end
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
    redis.call('HSET', key, 'state', State.RUNNING, 'owner', token, 'last_update', stamped)
    if queue then queue.recount(id) end
    mine[#mine + 1] = id
    -- When it was queued, where whoever did so wrote that down; foreign programs do not.
    local data = h[2]
    if data then
      budget = budget - #data
      if #data > cap then data = #data end
    end
    append(claimed, id, h[1], data, h[3] == State.WAIT and (is_ours or not h[7]) and h[6])
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
