-- Take a task from a worker that does not know its name, first step.
-- KEYS[1] the task (HASH)  ARGV[1] token
-- Returns what it is now: 'WAIT', 'STOPPED', 'GONE', or 'lost' where it is no longer the worker's own. Safe to run twice.

local h = fields(KEYS[1], 'owner', 'state', 'command', 'local')
if not h or h[1] ~= ARGV[1] then return 'lost' end
if h[2] == 'RUNNING' then return put_back(KEYS[1], h[3], h[4]) end
return h[2] == 'WAIT' and 'WAIT' or 'lost'
