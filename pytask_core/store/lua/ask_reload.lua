-- Record that a running task is to read its data again. A stop or restart that was asked for before stands.
-- KEYS: task
-- ARGV: control
-- Returns an outcome: TOLD, OTHER where it is not running or is about to stop, or UNKNOWN.

local h = fields(KEYS.task, 'state', 'command', 'task', 'owner')
if not h or not (h[1] or h[3]) then return Outcome.UNKNOWN end
if h[1] ~= State.RUNNING or h[2] == Command.STOP or h[2] == Command.RESTART then return Outcome.OTHER end
redis.call('HSET', KEYS.task, 'command', Command.RELOAD)
nudge(ARGV.control, Command.RELOAD, h[4])
return Outcome.TOLD
