-- Start tasks: write each hash and put its id into the new queue, unless it waits or runs already.
-- KEYS[1] new queue (LIST)  KEYS[2] task set (SET)  KEYS[3] removed (SET)  KEYS[4] parked (HASH)
-- ARGV[1] task prefix, then for each task: id, name, data, cleanup ('' or 'false')
-- Returns for each task 1 queued, 0 waits or runs already, -1 its key is no hash.

local new, active, removed, parked, prefix = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
local done, push, now = {}, {}, stamp(now_ms())
check(new, active)
redis.call('SCARD', removed)
redis.call('HLEN', parked)

local function write(key, task, data, cleanup, ...)
  redis.call('HSET', key, 'task', task, 'data', data, ...)
  if cleanup ~= '' then redis.call('HSET', key, 'cleanup', cleanup) end
end

local function enqueue(id, task, data, cleanup)
  local key = prefix .. id
  local h = fields(key, 'state', 'task', 'command', 'withdrawn')
  if not h then return -1 end
  local state = h[1]
  if state == 'RUNNING' then
    -- Asked to stop, but still there: what comes after the stop is this start.
    if h[3] ~= 'stop' then return 0 end
    redis.call('HDEL', key, 'cleanup', 'local')
    write(key, task, data, cleanup, 'command', 'restart')
    return 1
  end
  if state == 'WAIT' then
    -- It still runs once, on what was said last; where it was parked, perhaps under a name that is known.
    redis.call('HDEL', key, 'cleanup')
    write(key, task, data, cleanup)
    if not unpark(parked, id) then return 0 end
    push[#push + 1] = id
    return 1
  end
  if h[2] and not state and stands_in(new, removed, id) then return 0 end
  if state then
    redis.call('HDEL', key, 'output', 'owner', 'command', 'withdrawn', 'cleanup', 'local', 'charges',
      'since', 'deaths', 'hangs')
    redis.call('PERSIST', key)
    redis.call('SREM', active, id)
  end
  write(key, task, data, cleanup, 'state', 'WAIT', 'last_update', now)
  -- Stopped or removed while it waited: its entry still stands in the queue.
  if not h[4] and redis.call('SREM', removed, id) == 0 then push[#push + 1] = id end
  return 1
end

for i = 2, #ARGV, 4 do
  done[#done + 1] = enqueue(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
if #push > 0 then redis.call('LPUSH', new, unpack(push)) end
return done
