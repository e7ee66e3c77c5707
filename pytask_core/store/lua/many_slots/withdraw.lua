-- See that no entry of an id which stands in the queue now starts it.
-- KEYS: new_queue waiting spare inboxes
-- ALSO: inboxes
-- ARGV: task_id inbox_prefix
-- RESEND: yes
-- Returns how many of them another program has pushed, as far as it is known.

local id, queue = ARGV.task_id, looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.inboxes, true)
local ours = redis.call('HDEL', KEYS.waiting, id) + queue.spare(id)
return math.max(queue.withdraw(id, ours) - ours, 0)
