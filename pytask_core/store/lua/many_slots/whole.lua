-- The hash of a task as {field, value, …}; {} where there is none.
-- KEYS[1] the task (HASH)

local hash = redis.pcall('HGETALL', KEYS[1])
return hash.err and {} or hash
