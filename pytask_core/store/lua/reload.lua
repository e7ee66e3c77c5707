-- Read a running task's name and data again, for the worker that has stopped its old copy.
-- KEYS: task
-- ARGV: token max_payload
--   max_payload: bytes of data that a worker takes
-- Returns {command still recorded or false, name, data or, of more than it takes, their number}, or false where the task
-- is no longer the worker's own.

local h = fields(KEYS.task, 'owner', 'state', 'command', 'task', 'data')
if not h or h[1] ~= ARGV.token or h[2] ~= State.RUNNING then return false end
if h[3] == Command.RELOAD then
  redis.call('HDEL', KEYS.task, 'command')
  h[3] = false
end
return {h[3], h[4], bounded(h[5], tonumber(ARGV.max_payload))}
