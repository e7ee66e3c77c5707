-- Take a task from a worker that has stopped its copy, first step: STOPPED, WAIT or, a local one, gone.
-- KEYS: task
-- ARGV: token why
--   why: 'stop' where it was stopped on purpose, else 'requeue'
-- EACH: payload
--   payloads (JSON) of its last events
-- RESEND: yes
-- Returns an Outcome.

if #ARGV >= EACH.first then decide_emit(KEYS.task, ARGV.token, ARGV, EACH.first, #ARGV) end
return decide_leave(KEYS.task, ARGV.token, ARGV.why)
