-- Take a task from a worker that does not know its name, first step.
-- KEYS: task
-- ARGV: token
-- RESEND: yes
-- Returns what it is now: 'WAIT', 'STOPPED', 'GONE', or 'lost' where it is no longer the worker's own. Safe to run twice.

local h = fields(KEYS.task, 'owner', 'state', 'command', 'local')
if not h or h[1] ~= ARGV.token then return Outcome.LOST end
if h[2] == State.RUNNING then return put_back(KEYS.task, h[3], h[4]) end
return h[2] == State.WAIT and Outcome.BACK or Outcome.LOST
