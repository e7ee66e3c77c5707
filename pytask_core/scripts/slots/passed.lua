-- The entry of a task that was stopped while it waited is gone from the queue: the next one starts it.
-- KEYS[1] the task (HASH)  ARGV[1] the mark of that stop

local h = fields(KEYS[1], 'withdrawn')
if h and h[1] == ARGV[1] then redis.call('HDEL', KEYS[1], 'withdrawn') end
return 1
