-- Park ids under the names of their tasks, unless an entry of them stands in the new queue already.
-- KEYS: parked waiting spare new_queue inboxes
-- ALSO: inboxes
-- ARGV: inbox_prefix
-- EACH: id name
-- RESEND: yes
-- Returns for each 'new' where it is the first of its name, else ''. Safe to run twice.

local since, out = now_us(), {}
redis.call('HLEN', KEYS.parked)
local queue = looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.inboxes, true)
for i = EACH.first, #ARGV, EACH.step do
  local id, first = ARGV[i + EACH.id], false
  if redis.call('HEXISTS', KEYS.waiting, id) == 1 and queue.enter(id, queue.spare(id) + 1) then
    -- The worker that takes that entry now must claim it.
    redis.call('HINCRBY', KEYS.waiting, id, 1)
  elseif redis.call('HGET', KEYS.parked, id) ~= ARGV[i + EACH.name] then
    since = since + 1
    first = park(KEYS.parked, id, ARGV[i + EACH.name], since)
  end
  out[#out + 1] = first and Parking.FIRST or Parking.MORE
end
return out
