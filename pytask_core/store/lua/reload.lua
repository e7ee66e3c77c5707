-- Read a running task's name and data again, for the worker that has stopped its old copy.
-- KEYS[1] the task (HASH)
-- ARGV[1] token  ARGV[2] bytes of data that a worker takes
-- Returns {command still recorded or false, name, data or, of more than it takes, their number}, or false where the task is no longer the worker's own.

local h = fields(KEYS[1], 'owner', 'state', 'command', 'task', 'data')
if not h or h[1] ~= ARGV[1] or h[2] ~= 'RUNNING' then return false end
if h[3] == 'reload' then
  redis.call('HDEL', KEYS[1], 'command')
  h[3] = false
end
return {h[3], h[4], bounded(h[5], tonumber(ARGV[2]))}
