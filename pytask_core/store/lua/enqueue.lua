-- Start tasks: write each hash and put its id into the new queue. One that waits takes the new data and keeps its place;
-- one that runs is left alone.
-- KEYS: new_queue task_set spare workers parked
-- ALSO: tasks inboxes
-- ARGV: task_prefix inbox_prefix
-- EACH: id name data cleanup
--   id, name, data, cleanup ('' or 'false')
-- Returns for each task 1 waits, 0 left alone, -1 its key is no hash.

local new, active, spare, prefix = KEYS.new_queue, KEYS.task_set, KEYS.spare, ARGV.task_prefix
local done, push, pushed, now = {}, {}, {}, stamp(now_ms())
check(new, active)
-- Both are rare, so one look tells that neither is there.
local is_plain = redis.call('EXISTS', spare, KEYS.parked) == 0
if not is_plain then redis.call('HLEN', KEYS.parked) end
local queue = not is_plain and redis.call('HLEN', spare) > 0 and looker(new, spare, ARGV.inbox_prefix, KEYS.workers)

local function write(key, task, data, cleanup, ...)
  redis.call('HSET', key, 'task', task, 'data', data, ...)
  if cleanup ~= '' then redis.call('HSET', key, 'cleanup', cleanup) end
end

local function enqueue(id, task, data, cleanup)
  local key = prefix .. id
  local h = fields(key, 'state', 'task', 'command', 'last_update')
  if not h then return -1 end
  local state = h[1]
  if state == State.RUNNING then
    -- Asked to stop, but still there: what comes after the stop is this start.
    if h[3] ~= Command.STOP then return 0 end
    redis.call('HDEL', key, 'cleanup', 'local')
    write(key, task, data, cleanup, 'command', Command.RESTART)
    return 1
  end
  local extra, stands = queue and queue.spare(id) or 0, pushed[id]
  if state or h[2] or extra > 0 then
    if state == State.WAIT then
      -- What counts against it does on, if we have put it back; a claim sees to that.
      redis.call('HDEL', key, 'cleanup', 'local')
      redis.call('PERSIST', key)
    else
      forget_run(key, 'owner', 'cleanup', 'local')
    end
    redis.call('SREM', active, id)
    queue = queue or looker(new, spare, ARGV.inbox_prefix, KEYS.workers)
    local was_parked = unpark(KEYS.parked, id)
    stands = stands or queue.enter(id, extra + (state == State.WAIT and not was_parked and 1 or 0))
  end
  if not stands then push[#push + 1], pushed[id] = id, true end
  -- One that keeps its place has waited since it took that.
  write(key, task, data, cleanup, 'state', State.WAIT, 'last_update', stands and state == State.WAIT and h[4] or now)
  return 1
end

for i = EACH.first, #ARGV, EACH.step do
  done[#done + 1] = enqueue(ARGV[i + EACH.id], ARGV[i + EACH.name], ARGV[i + EACH.data], ARGV[i + EACH.cleanup])
end
if #push > 0 then redis.call('LPUSH', new, unpack(push)) end
return done
