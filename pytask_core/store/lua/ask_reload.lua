-- Record that a running task is to read its data again. A stop or restart that was asked for before stands.
-- KEYS[1] the task (HASH)
-- ARGV[1] control channel
-- Returns 1 recorded, 0 where the task is not running or about to stop, -1 where there is no such task.

local h = fields(KEYS[1], 'state', 'command', 'task', 'owner')
if not h or not (h[1] or h[3]) then return -1 end
if h[1] ~= 'RUNNING' or h[2] == 'stop' or h[2] == 'restart' then return 0 end
redis.call('HSET', KEYS[1], 'command', 'reload')
nudge(ARGV[1], 'reload', h[4])
return 1
