-- Look at one task whose id stands in the task set: whether it runs without anybody renewing it (written by hand, by the
-- original, or left so by a crash), or a crash left its id there between two steps.
-- KEYS[1] the task (HASH)
-- ARGV[1] task_timeout, ms
-- Returns {'' all is well, 'missing', 'WAIT', 'STOPPED', 'GONE', 'waits' it stands in the queue or ought to, 'end again';
-- its owner or ''}.

local h = fields(KEYS[1], 'state', 'last_update', 'local', 'owner', 'command', 'cleanup', 'kept')
if not h or (not h[1] and redis.call('EXISTS', KEYS[1]) == 0) then return {'missing', ''} end
local owner = h[4] or ''
if (tonumber(h[2] or 0) or 0) >= (now_ms() - ARGV[1]) / 1000 then return {'', owner} end
if h[1] == 'RUNNING' then return {put_back(KEYS[1], h[5], h[3]), owner} end
if h[1] == 'WAIT' then return {'waits', owner} end
if final(h[1]) and h[6] ~= 'false' and not h[7] then return {'end again', owner} end
return {'', owner}
