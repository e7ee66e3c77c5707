-- Put what a Cleanup had collected and not dealt with back to the end queue, where it came from.
-- KEYS: end_queue cleaning
-- Returns how many.

local ids = redis.call('LRANGE', KEYS.cleaning, 0, -1)
-- One by one, since there may be more than unpack can carry.
for _, id in ipairs(ids) do redis.call('RPUSH', KEYS.end_queue, id) end
redis.call('DEL', KEYS.cleaning)
return #ids
