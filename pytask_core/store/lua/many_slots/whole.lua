-- The hash of a task as {field, value, …}; {} where there is none.
-- KEYS: task
-- RESEND: yes

local hash = redis.pcall('HGETALL', KEYS.task)
return hash.err and {} or hash
