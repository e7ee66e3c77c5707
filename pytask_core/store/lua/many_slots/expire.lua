-- End a task that has been parked for too long, first step: EXCEPTION, and the final event.
-- KEYS: task
-- ARGV: output
--   output: output (JSON)
-- RESEND: yes
-- Returns where its id is to go: 'end', 'end again' where it may stand there already, 'keep' it stays in the task set, or
-- 'other' where it does not wait. Safe to run twice.

local h = fields(KEYS.task, 'state', 'cleanup', 'task', 'output')
if not h then return Outcome.OTHER end
if h[1] == State.EXCEPTION and h[4] == ARGV.output then return h[2] == 'false' and Outcome.KEPT or Outcome.ENDED_BEFORE end
if h[1] ~= State.WAIT and (h[1] or not h[3]) then return Outcome.OTHER end
redis.call('HSET', KEYS.task, 'state', State.EXCEPTION, 'output', ARGV.output, 'last_update', stamp(now_ms()))
redis.call('PUBLISH', KEYS.task, '{"event": "exception", "data": ' .. ARGV.output .. '}')
return h[2] == 'false' and Outcome.KEPT or Outcome.ENDED
