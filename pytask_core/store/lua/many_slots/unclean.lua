-- Put what a Cleanup that is gone had not dealt with back to the end queue.
-- KEYS[1] end queue (LIST)  KEYS[2] cleaning (LIST)  KEYS[3] number of its last report (STRING)
-- Returns how many.

local ids = redis.call('LRANGE', KEYS[2], 0, -1)
if #ids > 0 then redis.call('RPUSH', KEYS[1], unpack(ids)) end
redis.call('DEL', KEYS[2], KEYS[3])
return #ids
