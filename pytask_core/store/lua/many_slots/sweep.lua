-- Look at one task whose id stands in the task set: whether it runs without anybody renewing it (written by hand, by the
-- original, or left so by a crash), or a crash left its id there between two steps.
-- KEYS: task
-- ARGV: task_timeout unknown owner patience
--   task_timeout: ms
--   unknown: the lease, in ms, of workers that have promised none
--   owner: the owner whose patience is given next, in ms; '' where nobody has looked for it yet
-- RESEND: yes
-- Returns {outcome, its owner or ''}: see decide/sweep.lua.

local function patience(owner) return owner == ARGV.owner and tonumber(ARGV.patience) or nil end
local outcome, owner = decide_sweep(KEYS.task, tonumber(ARGV.task_timeout), patience, nil, tonumber(ARGV.unknown))
return {outcome, owner}
