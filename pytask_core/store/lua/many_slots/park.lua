-- Park ids under the names of their tasks, unless an entry of them stands in the new queue already.
-- KEYS[1] parked (HASH)  KEYS[2] waiting (HASH)  KEYS[3] spare (HASH)  KEYS[4] new queue (LIST)  KEYS[5] inboxes (SET)
-- ARGV[1] prefix of inboxes, then for each: id, name
-- Returns for each 'new' where it is the first of its name, else ''. Safe to run twice.

local since, out = now_us(), {}
redis.call('HLEN', KEYS[1])
local queue = looker(KEYS[4], KEYS[3], ARGV[1], KEYS[5], true)
for i = 2, #ARGV, 2 do
  local id, first = ARGV[i], false
  if redis.call('HEXISTS', KEYS[2], id) == 1 and queue.enter(id, queue.spare(id) + 1) then
    -- The worker that takes that entry now must claim it.
    redis.call('HINCRBY', KEYS[2], id, 1)
  elseif redis.call('HGET', KEYS[1], id) ~= ARGV[i + 1] then
    since = since + 1
    first = park(KEYS[1], id, ARGV[i + 1], since)
  end
  out[#out + 1] = first and 'new' or ''
end
return out
