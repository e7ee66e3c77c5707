-- Give a task away whose name its worker does not know, first step.
-- KEYS[1] the task (HASH)  ARGV[1] token
-- Returns 1, or 0 where it is no longer the worker's own. Safe to run twice.

local h = fields(KEYS[1], 'owner', 'state')
if not h or h[1] ~= ARGV[1] then return 0 end
if h[2] == 'RUNNING' then redis.call('HSET', KEYS[1], 'state', 'WAIT') end
return (h[2] == 'RUNNING' or h[2] == 'WAIT') and 1 or 0
