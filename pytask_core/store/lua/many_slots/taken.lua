-- Clear from a worker's inbox what a claim has dealt with. An id that was pushed again meanwhile stays, for the next one.
-- KEYS[1] new queue (LIST)  KEYS[2] inbox (LIST)  KEYS[3] waiting (HASH)  KEYS[4] spare (HASH)
-- KEYS[5] the worker's last claim (STRING)  KEYS[6] inboxes (SET)  KEYS[7] early (ZSET)
-- ARGV[1] number of the claim  ARGV[2] prefix of inboxes, then for each: id, pushes its entry stood for or '', what: 'claimed', 'passed',
-- 'later' back to the queue, 'early' to be looked at again
-- Returns ids left in queue and inbox. Executed twice, or late, it does nothing.

local new, inbox, waiting, last = KEYS[1], KEYS[2], KEYS[3], KEYS[5]
local queue = looker(new, KEYS[4], ARGV[2], KEYS[6], true)
if redis.call('GET', last) ~= string.format('%d', ARGV[1] * 2) then
  return redis.call('LLEN', new) + redis.call('LLEN', inbox)
end

for i = 3, #ARGV, 3 do
  local id, pushes, what = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local stands_for = redis.call('HGET', waiting, id) or ''
  if stands_for ~= pushes then
    -- It stays: pushed again, or withdrawn.
    if stands_for ~= '' or queue.spare(id) == 0 then redis.call('HSET', waiting, id, 1) end
  else
    -- One entry, the oldest, since a later one may be another program's restart; all, where it runs now.
    redis.call('LREM', inbox, what == 'claimed' and 0 or -1, id)
    if what == 'later' then
      redis.call('LPUSH', new, id)
      redis.call('HSET', waiting, id, 1)
    else
      if what == 'early' then redis.call('ZADD', KEYS[7], 'NX', now_ms(), id) end
      redis.call('HDEL', waiting, id)
      -- An entry that is known is not among the spare ones.
      if what == 'claimed' then queue.recount(id) elseif pushes == '' then queue.pass(id) end
    end
  end
end
redis.call('SET', last, string.format('%d', ARGV[1] * 2 + 1))
local left = redis.call('LLEN', new) + redis.call('LLEN', inbox)
if left == 0 and redis.call('EXISTS', KEYS[4]) == 1 then queue.tidy() end
return left
