-- Put what a Cleanup had collected and not dealt with back to the end queue, where it came from.
-- KEYS[1] end queue (LIST)  KEYS[2] cleaning (LIST)
-- Returns how many.

local ids = redis.call('LRANGE', KEYS[2], 0, -1)
-- One by one, since there may be more than unpack can carry.
for _, id in ipairs(ids) do redis.call('RPUSH', KEYS[1], id) end
redis.call('DEL', KEYS[2])
return #ids
