-- Move ids from the new queue to a worker's inbox, as many as are its share, and tell what stands there.
-- KEYS: new_queue inbox waiting spare last_take inboxes
-- ALSO: inboxes
-- ARGV: number room holds all_hold all_workers insist worker
--   holds: ids the worker holds
--   all_hold: ids all hold
--   insist: '1': take a part of the queue even when the worker holds more than its share
-- RESEND: yes
-- Returns {{id, pushes its entry stands for or '', 1 where an entry is spare, entries beyond the first, …}, ids left, 1
-- where the claim is done already}. A claim that is executed late takes nothing.

local new, inbox, spare = KEYS.new_queue, KEYS.inbox, KEYS.spare
local mark, room = ARGV.number * 2, tonumber(ARGV.room)
local out, left = {}, redis.call('LLEN', new)
if tonumber(redis.call('GET', KEYS.last_take) or 0) > mark then return {out, left, 1} end
redis.call('SET', KEYS.last_take, mark)

local insist = ARGV.insist == '1'
local share = share_of(left, tonumber(ARGV.holds), tonumber(ARGV.all_hold), tonumber(ARGV.all_workers), insist)
share = math.min(share, room - redis.call('LLEN', inbox))
if share > 0 and left > 0 then
  redis.call('SADD', KEYS.inboxes, ARGV.worker)
  for _, id in ipairs(redis.call('RPOP', new, share) or {}) do redis.call('LPUSH', inbox, id) end
end
local ids, stands_at = redis.call('LRANGE', inbox, -room, -1), {}
for i = #ids, 1, -1 do
  local id = ids[i]
  if stands_at[id] then
    out[stands_at[id]] = out[stands_at[id]] + 1
  else
    append(out, id, redis.call('HGET', KEYS.waiting, id) or '', redis.call('HEXISTS', spare, id))
    out[#out + 1] = 0
    stands_at[id] = #out
  end
end
left = redis.call('LLEN', new)
if #ids == 0 and left == 0 and redis.call('EXISTS', spare) == 1 then
  looker(new, spare, string.sub(inbox, 1, -1 - #ARGV.worker), KEYS.inboxes, true).tidy()
end
return {out, left, 0}
