-- Run a task again, first step: a running one is told, any other one is to wait in the queue.
-- KEYS: task
-- ARGV: control
-- EACH: state
--   states in which to do so (none: any)
-- RESEND: yes
-- Returns an outcome: see decide/restart.lua.

return decide_restart(KEYS.task, ARGV.control, ARGV, EACH.first, true)
