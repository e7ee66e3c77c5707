-- Whether a task is STOPPED now. KEYS[1] the task (HASH)
-- Returns 1 or 0.

local h = fields(KEYS[1], 'state')
return h and h[1] == 'STOPPED' and 1 or 0
