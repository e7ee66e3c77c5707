-- Write fields of a task's hash as they are. Where there is no task, only what names one makes it: everything else would
-- be a hash that no list leads to.
-- KEYS[1] the task (HASH)
-- ARGV: field, value, …
-- Returns 1 written, 0 where there is no such task.

local makes_one = redis.call('EXISTS', KEYS[1]) == 1
for i = 1, #ARGV, 2 do makes_one = makes_one or ARGV[i] == 'task' end
if not makes_one then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
