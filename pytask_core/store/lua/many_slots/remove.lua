-- Forget a task: its hash. A worker that runs it is told, and finds its claim gone.
-- KEYS: task
-- ARGV: control
-- RESEND: yes
-- Returns {outcome, its owner or ''}: see decide/remove.lua.

local outcome, owner = decide_remove(KEYS.task, ARGV.control)
return {outcome, owner}
