-- Start a task, first step: write its hash, unless it waits or runs already.
-- KEYS[1] the task (HASH)
-- ARGV[1] name  ARGV[2] data  ARGV[3] cleanup ('' or 'false')  ARGV[4] '1': its id is known not to stand in the queue
-- Returns 'wrong type'; 'runs' left alone; 'ordered' it is to run again after the stop that is under way; 'waits' already;
-- 'perhaps' written by hand, so whoever wrote it may have queued it; 'queue' it is to be queued; 'again' likewise, after an end
-- or a stop, so that its id may stand in the task set.
-- `owner` stays, so that a claim which is executed late can tell that the task has moved on.

local task, data, cleanup = ARGV[1], ARGV[2], ARGV[3]
local h = fields(KEYS[1], 'state', 'task', 'command')
if not h then return 'wrong type' end
local state = h[1]

local function write(...)
  redis.call('HSET', KEYS[1], 'task', task, 'data', data, ...)
  if cleanup ~= '' then redis.call('HSET', KEYS[1], 'cleanup', cleanup) end
end

if state == 'RUNNING' then
  if h[3] ~= 'stop' then return 'runs' end
  redis.call('HDEL', KEYS[1], 'cleanup', 'local')
  write('command', 'restart')
  return 'ordered'
end
if state == 'WAIT' then
  -- It still runs once, on what was said last.
  redis.call('HDEL', KEYS[1], 'cleanup')
  write()
  return 'waits'
end
if h[2] and not state and ARGV[4] ~= '1' then return 'perhaps' end
if state then
  redis.call('HDEL', KEYS[1], 'output', 'command', 'withdrawn', 'cleanup', 'local', 'charges', 'since', 'deaths', 'hangs', 'kept')
  redis.call('PERSIST', KEYS[1])
end
write('state', 'WAIT', 'last_update', stamp(now_ms()))
not_queued_yet(KEYS[1])
return state and 'again' or 'queue'
