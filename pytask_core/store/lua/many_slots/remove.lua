-- Forget a task: its hash. A worker that runs it is told, and finds its claim gone.
-- KEYS: task
-- ARGV: control
-- RESEND: yes
-- Returns {1 where there was such a key, its owner or ''}.

local h = fields(KEYS.task, 'state', 'owner') or {}
local known = redis.call('DEL', KEYS.task)
if h[1] == State.RUNNING then nudge(ARGV.control, Command.STOP, h[2]) end
return {known, h[2] or ''}
