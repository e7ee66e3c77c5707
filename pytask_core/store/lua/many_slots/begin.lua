-- Start a task, first step: write its hash, unless it runs.
-- KEYS: task
-- ARGV: name data cleanup
--   cleanup: cleanup ('' or 'false')
-- RESEND: yes
-- Returns 'wrong type'; 'runs' left alone; 'ordered' it is to run again after the stop that is under way; 'waits'
-- already; 'queue' it is to be queued; 'again' likewise, and it was there before: its id may stand in the task set, and
-- whoever wrote it may have queued it. `owner` stays, so that a claim which is executed late can tell that the task has
-- moved on.

local task, data, cleanup = ARGV.name, ARGV.data, ARGV.cleanup
local h = fields(KEYS.task, 'state', 'task', 'command', 'last_update')
if not h then return Outcome.WRONG_TYPE end
local state = h[1]

local function write(...)
  redis.call('HSET', KEYS.task, 'task', task, 'data', data, ...)
  if cleanup ~= '' then redis.call('HSET', KEYS.task, 'cleanup', cleanup) end
end

if state == State.RUNNING then
  if h[3] ~= Command.STOP then return Outcome.RUNS end
  redis.call('HDEL', KEYS.task, 'cleanup', 'local')
  write('command', Command.RESTART)
  return Outcome.TOLD
end
if state == State.WAIT then
  -- What counts against it does on, if we have put it back; a claim sees to that.
  redis.call('HDEL', KEYS.task, 'cleanup', 'local')
  if redis.call('HEXISTS', KEYS.task, 'unqueued') == 0 then redis.call('PERSIST', KEYS.task) end
elseif state or h[2] then
  forget_run(KEYS.task, 'cleanup', 'local')
end
-- One that keeps its place has waited since it took that.
write('state', State.WAIT, 'last_update', state == State.WAIT and h[4] or stamp(now_ms()))
if state == State.WAIT then return Outcome.WAITS end
not_queued_yet(KEYS.task)
return (state or h[2]) and Outcome.AGAIN or Outcome.QUEUED
