-- What several scripts share; the loader puts it before each of them.
-- Time is the server's (TIME), so no worker's clock decides anything.

local now_in_ms

-- The same in all of a script.
local function now_ms()
  if not now_in_ms then
    local t = redis.call('TIME')
    now_in_ms = t[1] * 1000 + math.floor(t[2] / 1000)
  end
  return now_in_ms
end

-- last_update as the hash carries it (when the task was queued, claimed, renewed or ended): unix seconds, to the millisecond.
local function stamp(ms)
  return string.format('%.3f', ms / 1000)
end

-- `last_update` in ms. What is not a time, or lies so far ahead that it would never be old, is replaced by now.
local function renewed_at(key, value, now, ahead)
  local ms = (tonumber(value or 0) or 0) * 1000
  if ms >= 0 and ms <= now + ahead then return ms end
  redis.call('HSET', key, 'last_update', stamp(now))
  return now
end

-- Data as a claim hands it out: the number of its bytes, where these are more than a worker takes.
local function bounded(data, cap)
  return data and #data > cap and #data or data
end

-- HMGET that answers nil where the key is no hash.
local function fields(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if values.err then return nil end
  return values
end

-- Make sure of the types of shared keys before the first write: a script that fails half way is not undone.
local function check(queue, active, held, running)
  redis.call('LLEN', queue)
  redis.call('SCARD', active)
  if held then redis.call('SCARD', held) end
  if running and not string.match(redis.call('GET', running) or '0', '^%-?%d+$') then
    error('the value of ' .. running .. ' is no whole number')
  end
end

-- Put up to four values at the end of a list; false keeps its place.
local function append(list, a, b, c, d)
  local n = #list
  list[n + 1], list[n + 2], list[n + 3], list[n + 4] = a, b, c, d
end

local function extend(list, more)
  for _, value in ipairs(more or {}) do list[#list + 1] = value end
end

-- Tell those who listen. Without the right to publish the rest is still done: a script that fails is not undone.
local function publish(channel, message)
  redis.pcall('PUBLISH', channel, message)
end

-- Nudge the worker that runs a task. The token keeps a message that comes late from a later run of the same id; a task of
-- another program's has none.
local function nudge(channel, word, owner)
  publish(channel, owner and word .. ' ' .. owner or word)
end

-- What the final event begins with, up to the output.
local function opening_of(state)
  return '{"event": "' .. string.lower(state) .. '", "data": '
end

-- Take ids out of a worker's hands; `running` counts what all workers hold.
local function let_go(held, running, ids)
  if #ids > 0 then
    local gone = redis.call('SREM', held, unpack(ids))
    if gone > 0 then redis.call('DECRBY', running, gone) end
  end
end

-- Make a task that is to run again a clean one: what its last run left in the hash, its expiry among it, is of that run.
-- Other fields to delete may follow.
local function forget_run(key, ...)
  redis.call('HDEL', key, 'output', 'command', 'charges', 'since', 'deaths', 'hangs', 'requeued',
    'kept', ...)
  redis.call('PERSIST', key)
end

-- Turn a task that leaves its worker unfinished into what it is to be next. A recorded stop wins over the requeue.
-- Returns STOPPED, BACK or GONE (a local task does not outlive its worker).
local function put_back(key, command, is_local)
  if command then redis.call('HDEL', key, 'command') end
  if command == Command.STOP then
    redis.call('HSET', key, 'state', State.STOPPED)
    return Outcome.STOPPED
  elseif is_local == 'true' then
    redis.call('DEL', key)
    return Outcome.GONE
  end
  redis.call('HSET', key, 'state', State.WAIT, 'requeued', '1', 'last_update', stamp(now_ms()))
  if command == Command.RESTART then redis.call('HDEL', key, 'charges', 'since', 'deaths', 'hangs') end
  return Outcome.BACK
end

-- Mark a hash whose id is to be queued by the next step, in another slot. Where that fails, and no caller repeats it, the hash
-- is in no list that leads to it, and goes by itself after a day.
local function not_queued_yet(key)
  redis.call('HSET', key, 'unqueued', '1')
  redis.call('EXPIRE', key, 86400)
end

-- The contrary: its id is queued, or was.
local function queued_now(key)
  if redis.call('HDEL', key, 'unqueued') == 1 then redis.call('PERSIST', key) end
end

-- Whether a claim token is of that worker.
local function owned_by(token, worker)
  return string.sub(token or '', 1, #worker + 1) == worker .. ':'
end

-- What a task is that is not a claim's own: it may run in the hands of the same worker. `h` = owner, state, …, or nil.
local function not_own(h, token)
  local is_near = h and h[2] == State.RUNNING and owned_by(h[1], string.match(token, '^(.*):') or '')
  return is_near and Outcome.OTHER_CLAIM or Outcome.LOST
end

-- COMPLETE is how pytask 1.0 wrote SUCCESS; what it has left is cleaned as well.
local function final(state)
  return state == State.SUCCESS or state == State.ERROR or state == State.EXCEPTION or state == OldState.COMPLETE
end

-- Whether an id belongs into the task set; `cleanup` and `kept` as the hash has them.
local function is_active(state, cleanup, kept)
  return state == State.RUNNING or state == State.STOPPED or (final(state) and (cleanup == 'false' or kept ~= false))
end
