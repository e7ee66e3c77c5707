-- Register a local task: it is born RUNNING, in the hands of the worker of the token.
-- Returns RUNS.
local function decide_adopt(key, token, name, data)
  redis.call('HSET', key, 'task', name, 'data', data, 'local', 'true', 'state', State.RUNNING, 'owner', token,
    'last_update', stamp(now_ms()))
  return Outcome.RUNS
end
