-- Whether a task is STOPPED now.
-- KEYS: task
-- RESEND: yes
-- Returns 1 or 0.

local h = fields(KEYS.task, 'state')
return h and h[1] == State.STOPPED and 1 or 0
