-- Write fields of a task's hash as they are. Where there is no task, only what names one makes it: everything else would
-- be a hash that no list leads to.
-- KEYS: task
-- EACH: field value
-- Returns 1 written, 0 where there is no such task.

local makes_one = redis.call('EXISTS', KEYS.task) == 1
for i = EACH.first, #ARGV, EACH.step do makes_one = makes_one or ARGV[i + EACH.field] == 'task' end
if not makes_one then return 0 end
redis.call('HSET', KEYS.task, unpack(ARGV))
return 1
