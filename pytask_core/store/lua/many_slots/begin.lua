-- Start a task, first step: write its hash, unless it runs.
-- KEYS[1] the task (HASH)
-- ARGV[1] name  ARGV[2] data  ARGV[3] cleanup ('' or 'false')
-- Returns 'wrong type'; 'runs' left alone; 'ordered' it is to run again after the stop that is under way; 'waits' already;
-- 'queue' it is to be queued; 'again' likewise, and it was there before: its id may stand in the task set, and whoever wrote
-- it may have queued it.
-- `owner` stays, so that a claim which is executed late can tell that the task has moved on.

local task, data, cleanup = ARGV[1], ARGV[2], ARGV[3]
local h = fields(KEYS[1], 'state', 'task', 'command', 'last_update')
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
  -- What counts against it does on, if we have put it back; a claim sees to that.
  redis.call('HDEL', KEYS[1], 'cleanup', 'local')
  if redis.call('HEXISTS', KEYS[1], 'unqueued') == 0 then redis.call('PERSIST', KEYS[1]) end
elseif state or h[2] then
  forget_run(KEYS[1], 'cleanup', 'local')
end
-- One that keeps its place has waited since it took that.
write('state', 'WAIT', 'last_update', state == 'WAIT' and h[4] or stamp(now_ms()))
if state == 'WAIT' then return 'waits' end
not_queued_yet(KEYS[1])
return (state or h[2]) and 'again' or 'queue'
