-- Start a task, first step: write its hash, unless it runs.
-- KEYS: task
-- ARGV: name data cleanup
--   cleanup: cleanup ('' or 'false')
-- RESEND: yes
-- Returns an outcome: see decide/start.lua.

return decide_start(KEYS.task, ARGV.name, ARGV.data, ARGV.cleanup, stamp(now_ms()), true)
