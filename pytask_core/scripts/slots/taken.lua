-- Clear from a worker's inbox what a claim has dealt with. An id that was pushed again meanwhile stays, for the next one.
-- KEYS[1] new queue (LIST)  KEYS[2] inbox (LIST)  KEYS[3] waiting (HASH)  KEYS[4] removed (SET)
-- KEYS[5] the worker's last claim (STRING)
-- ARGV[1] number of the claim, then for each: id, pushes its entry stood for or '', what: 'claimed', 'passed', 'removed'
-- since it was so when it was taken, 'later' back to the queue
-- Returns ids left in queue and inbox. Executed twice, or late, it does nothing.

local new, inbox, waiting, removed, last = unpack(KEYS)
if redis.call('GET', last) ~= string.format('%d', ARGV[1] * 2) then
  return redis.call('LLEN', new) + redis.call('LLEN', inbox)
end

for i = 2, #ARGV, 3 do
  local id, what = ARGV[i], ARGV[i + 2]
  local revived = what == 'removed' and redis.call('SISMEMBER', removed, id) == 0
  if revived or (redis.call('HGET', waiting, id) or '') ~= ARGV[i + 1] then
    redis.call('HSET', waiting, id, 1)
  else
    -- One entry, the oldest, since a later one may be another program's restart; all, where it runs now.
    redis.call('LREM', inbox, what == 'claimed' and 0 or -1, id)
    if what == 'later' then
      redis.call('LPUSH', new, id)
      redis.call('HSET', waiting, id, 1)
    else
      redis.call('HDEL', waiting, id)
      redis.call('SREM', removed, id)
    end
  end
end
redis.call('SET', last, string.format('%d', ARGV[1] * 2 + 1))
return redis.call('LLEN', new) + redis.call('LLEN', inbox)
