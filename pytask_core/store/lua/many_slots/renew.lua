-- Renew the last_update of one task.
-- KEYS: task
-- ARGV: token poison_window
--   poison_window: ms
-- RESEND: yes
-- Returns an Outcome, or the command that is recorded for it.

return decide_renew(KEYS.task, ARGV.token, tonumber(ARGV.poison_window), stamp(now_ms()))
