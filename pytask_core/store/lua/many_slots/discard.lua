-- Forget an ended task, at once or after a while. What was restarted meanwhile is left alone.
-- KEYS: task
-- ARGV: retention keep owner
--   retention: seconds for which the hash stays readable
--   keep: '1' to keep it findable instead
--   owner: owner it had when the handler saw it, '' where none did
-- RESEND: yes
-- Returns an outcome: see decide/discard.lua.

return decide_discard(KEYS.task, tonumber(ARGV.retention), ARGV.keep == '1', ARGV.owner, true)
