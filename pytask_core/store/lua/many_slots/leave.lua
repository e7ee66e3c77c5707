-- Take a task from a worker that has stopped its copy, first step: STOPPED, WAIT or, a local one, gone.
-- KEYS: task
-- ARGV: token why
--   why: 'stop' where it was stopped on purpose, else 'requeue'
-- EACH: payload
--   payloads (JSON) of its last events
-- RESEND: yes
-- Returns what it is now: 'STOPPED', 'WAIT', 'GONE', or 'lost': no longer the worker's own. Safe to run twice: what is
-- gone may be so by the first time, after which the id was not yet let go of.

local h = fields(KEYS.task, 'owner', 'state', 'command', 'local')
if h and not h[1] and redis.call('EXISTS', KEYS.task) == 0 then return Outcome.GONE end
if not h or h[1] ~= ARGV.token then return Outcome.LOST end
if h[2] == State.WAIT then return Outcome.BACK end
if h[2] == State.STOPPED then return Outcome.STOPPED end
if h[2] ~= State.RUNNING then return Outcome.LOST end
publish_from(KEYS.task, ARGV, EACH.first)
local command = h[3]
if ARGV.why == Reason.STOP and command ~= Command.RESTART then command = Command.STOP end
return put_back(KEYS.task, command, h[4])
