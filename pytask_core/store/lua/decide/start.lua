-- Start a task: write its hash, unless it runs. One that waits takes the new data.
-- cleanup: '' or 'false'  now: as `last_update` has it
-- in_steps: in many slots its id is queued by a later step, and `owner` stays, so that a late claim sees that it has moved on
-- Returns WRONG_TYPE, RUNS, TOLD where it runs again after the stop that is under way, WAITS, AGAIN or QUEUED.
local function decide_start(key, task, data, cleanup, now, in_steps)
  local h = fields(key, 'state', 'task', 'command', 'last_update')
  if not h then return Outcome.WRONG_TYPE end
  local state = h[1]
  if state == State.RUNNING then
    if h[3] ~= Command.STOP then return Outcome.RUNS end
    redis.call('HDEL', key, 'cleanup', 'local')
    redis.call('HSET', key, 'task', task, 'data', data, 'command', Command.RESTART)
    if cleanup ~= '' then redis.call('HSET', key, 'cleanup', cleanup) end
    return Outcome.TOLD
  end
  if state == State.WAIT then
    -- What counts against it does on, if we have put it back; a claim sees to that.
    redis.call('HDEL', key, 'cleanup', 'local')
    if not in_steps or redis.call('HEXISTS', key, 'unqueued') == 0 then redis.call('PERSIST', key) end
  elseif state or h[2] then
    forget_run(key, 'cleanup', 'local', in_steps and 'local' or 'owner')
  end
  -- One that keeps its place has waited since it took that.
  redis.call('HSET', key, 'task', task, 'data', data, 'state', State.WAIT,
    'last_update', state == State.WAIT and h[4] or now)
  if cleanup ~= '' then redis.call('HSET', key, 'cleanup', cleanup) end
  if state == State.WAIT then return Outcome.WAITS end
  if in_steps then not_queued_yet(key) end
  return (state or h[2]) and Outcome.AGAIN or Outcome.QUEUED
end
