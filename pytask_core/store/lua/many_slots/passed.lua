-- Whether a task that a claim has passed over belongs into the task set.
-- KEYS: task
-- RESEND: yes
-- Returns 1, or 0: it waits, has ended, or was removed meanwhile.

local h = fields(KEYS.task, 'state', 'cleanup', 'kept')
return h and is_active(h[1], h[2], h[3]) and 1 or 0
