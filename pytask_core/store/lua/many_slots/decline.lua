-- Put what a worker was given and cannot begin back to the front of the new queue: the oldest, in order. Of one slot;
-- used in both regimes.
-- KEYS: new_queue inbox waiting spare
-- ARGV: limit counts
--   limit: ids at most
--   counts: '1' in many slots, where it is known which ids have an entry of ours
-- RESEND: yes
-- Returns how many.

redis.call('LLEN', KEYS.new_queue)
local ids = redis.call('RPOP', KEYS.inbox, ARGV.limit) or {}
for at = #ids, 1, -1 do
  -- As in unbox.lua.
  local is_ours = ARGV.counts == '1' and redis.call('HEXISTS', KEYS.spare, ids[at]) == 0
  if is_ours then redis.call('HSETNX', KEYS.waiting, ids[at], 1) end
  redis.call('RPUSH', KEYS.new_queue, ids[at])
end
return #ids
