-- Note that the entry of a task that is being removed is to be passed over, if one stands in the queue.
-- KEYS[1] new queue (LIST)  KEYS[2] waiting (HASH)  KEYS[3] removed (SET)
-- ARGV[1] id

local id = ARGV[1]
if redis.call('HEXISTS', KEYS[2], id) == 1 or stands_in(KEYS[1], KEYS[3], id) then redis.call('SADD', KEYS[3], id) end
return 1
