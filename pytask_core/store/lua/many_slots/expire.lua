-- End a task that has been parked for too long, first step: EXCEPTION, and the final event.
-- KEYS: task
-- ARGV: output
--   output: output (JSON)
-- RESEND: yes
-- Returns an outcome: see decide/expire.lua. Safe to run twice.

return decide_expire(KEYS.task, ARGV.output, true)
