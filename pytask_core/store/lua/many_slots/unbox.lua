-- Put what stands in the inbox of a worker that is gone back to the front of the new queue.
-- KEYS: new_queue inbox waiting last_take inboxes spare
-- ARGV: worker forget
--   forget: '1': and forget it
-- RESEND: yes
-- Returns how many.

local ids = redis.call('LRANGE', KEYS.inbox, 0, -1)
redis.call('LLEN', KEYS.new_queue)
for _, id in ipairs(ids) do
  -- Its task is perhaps about to be queued as well, and one entry is enough.
  if redis.call('HEXISTS', KEYS.spare, id) == 0 then redis.call('HSETNX', KEYS.waiting, id, 1) end
  redis.call('RPUSH', KEYS.new_queue, id)
end
redis.call('DEL', KEYS.inbox)
if ARGV.forget == '1' then
  redis.call('DEL', KEYS.last_take)
  redis.call('SREM', KEYS.inboxes, ARGV.worker)
end
return #ids
