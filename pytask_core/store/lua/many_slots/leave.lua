-- Take a task from a worker that has stopped its copy, first step: STOPPED, WAIT or, a local one, gone.
-- KEYS[1] the task (HASH)
-- ARGV[1] token  ARGV[2] 'stop' where it was stopped on purpose, else 'requeue', then payloads (JSON) of its last events
-- Returns what it is now: 'STOPPED', 'WAIT', 'GONE', or 'lost': no longer the worker's own. Safe to run twice: what is gone
-- may be so by the first time, after which the id was not yet let go of.

local h = fields(KEYS[1], 'owner', 'state', 'command', 'local')
if h and not h[1] and redis.call('EXISTS', KEYS[1]) == 0 then return 'GONE' end
if not h or h[1] ~= ARGV[1] then return 'lost' end
if h[2] == 'WAIT' or h[2] == 'STOPPED' then return h[2] end
if h[2] ~= 'RUNNING' then return 'lost' end
publish_from(KEYS[1], ARGV, 3)
local command = h[3]
if ARGV[2] == 'stop' and command ~= 'restart' then command = 'stop' end
return put_back(KEYS[1], command, h[4])
