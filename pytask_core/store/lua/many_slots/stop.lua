-- Record that a task is to stop. One that stands in the queue is stopped here and now and never starts.
-- KEYS: task
-- ARGV: control foreign
--   foreign: entries that another program had pushed, and that are not to start it
-- RESEND: yes
-- Returns an outcome: see decide/stop.lua.

return decide_stop(KEYS.task, ARGV.control, function() return tonumber(ARGV.foreign) end)
