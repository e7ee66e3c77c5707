-- Move ids from the new queue to a worker's inbox, as many as are its share, and tell what stands there.
-- KEYS[1] new queue (LIST)  KEYS[2] inbox (LIST)  KEYS[3] waiting (HASH)  KEYS[4] spare (HASH)
-- KEYS[5] the worker's last claim (STRING): twice its number, and one more when it is done
-- KEYS[6] inboxes (SET)
-- ARGV[1] number of the claim  ARGV[2] room  ARGV[3] ids the worker holds  ARGV[4] ids all hold  ARGV[5] workers
-- ARGV[6] '1': take a part of the queue even when the worker holds more than its share  ARGV[7] worker
-- Returns {{id, pushes its entry stands for or '', 1 where an entry is spare, entries beyond the first, …}, ids left, 1 where
-- the claim is done already}.
-- A claim that is executed late takes nothing.

local new, inbox, waiting, spare, last, inboxes = unpack(KEYS)
local mark, room = ARGV[1] * 2, tonumber(ARGV[2])
local out, left = {}, redis.call('LLEN', new)
if tonumber(redis.call('GET', last) or 0) > mark then return {out, left, 1} end
redis.call('SET', last, mark)

local insist = ARGV[6] == '1'
local share = share_of(left, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), insist)
share = math.min(share, room - redis.call('LLEN', inbox))
if share > 0 and left > 0 then
  redis.call('SADD', inboxes, ARGV[7])
  for _, id in ipairs(redis.call('RPOP', new, share) or {}) do redis.call('LPUSH', inbox, id) end
end
local ids, place = redis.call('LRANGE', inbox, -room, -1), {}
for i = #ids, 1, -1 do
  local id = ids[i]
  if place[id] then
    out[place[id]] = out[place[id]] + 1
  else
    append(out, id, redis.call('HGET', waiting, id) or '', redis.call('HEXISTS', spare, id))
    out[#out + 1] = 0
    place[id] = #out
  end
end
left = redis.call('LLEN', new)
if #ids == 0 and left == 0 and redis.call('EXISTS', spare) == 1 then
  looker(new, spare, string.sub(inbox, 1, -1 - #ARGV[7]), inboxes, true).tidy()
end
return {out, left, 0}
