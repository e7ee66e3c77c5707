-- See that no entry of an id which stands in the queue now starts it.
-- KEYS[1] new queue (LIST)  KEYS[2] waiting (HASH)  KEYS[3] spare (HASH)  KEYS[4] inboxes (SET)
-- ARGV[1] id  ARGV[2] prefix of inboxes
-- Returns how many of them another program has pushed, as far as it is known.

local id, queue = ARGV[1], looker(KEYS[1], KEYS[3], ARGV[2], KEYS[4], true)
local ours = redis.call('HDEL', KEYS[2], id) + queue.spare(id)
return math.max(queue.withdraw(id, ours) - ours, 0)
