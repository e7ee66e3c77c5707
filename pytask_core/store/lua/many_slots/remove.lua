-- Forget a task: its hash. A worker that runs it is told, and finds its claim gone.
-- KEYS[1] the task (any type)
-- ARGV[1] control channel
-- Returns {1 where there was such a key, its owner or ''}.

local h = fields(KEYS[1], 'state', 'owner') or {}
local known = redis.call('DEL', KEYS[1])
if h[1] == 'RUNNING' then nudge(ARGV[1], 'stop', h[2]) end
return {known, h[2] or ''}
