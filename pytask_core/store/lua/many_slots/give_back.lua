-- A claim has failed on its way: put what stands in the worker's inbox back to the front of the new queue, for others.
-- KEYS: new_queue inbox waiting last_take spare
-- ARGV: number may_be_claimed
--   may_be_claimed: '1': some of it may be claimed, so that its entry is to start nothing after its end
-- RESEND: yes
-- Returns the ids. The claim counts as done from then on: what was sent of it and is executed late does nothing.

local mark = ARGV.number * 2
if tonumber(redis.call('GET', KEYS.last_take) or 0) > mark then return {} end
redis.call('LLEN', KEYS.new_queue)
local ids = redis.call('LRANGE', KEYS.inbox, 0, -1)
for _, id in ipairs(ids) do
  if ARGV.may_be_claimed == '1' and redis.call('HEXISTS', KEYS.spare, id) == 0 then redis.call('HSETNX', KEYS.waiting, id, 1) end
  redis.call('RPUSH', KEYS.new_queue, id)
end
redis.call('DEL', KEYS.inbox)
redis.call('SET', KEYS.last_take, string.format('%d', mark + 1))
return ids
