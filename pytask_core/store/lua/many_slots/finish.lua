-- End a task, first step: final state and output, and the final event. Once.
-- KEYS: task
-- ARGV: token state output
--   output: output (JSON)
-- EACH: payload
--   payloads (JSON) of events before it, in order
-- RESEND: yes
-- Returns an Outcome.

if #ARGV >= EACH.first then decide_emit(KEYS.task, ARGV.token, ARGV, EACH.first, #ARGV) end
return decide_finish(KEYS.task, ARGV.token, ARGV.state, ARGV.output, opening_of(ARGV.state), stamp(now_ms()))
