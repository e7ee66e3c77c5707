-- Put what a Cleanup that is gone had not dealt with back to the end queue.
-- KEYS: end_queue cleaning last_report
-- RESEND: yes
-- Returns how many.

local ids = redis.call('LRANGE', KEYS.cleaning, 0, -1)
if #ids > 0 then redis.call('RPUSH', KEYS.end_queue, unpack(ids)) end
redis.call('DEL', KEYS.cleaning, KEYS.last_report)
return #ids
