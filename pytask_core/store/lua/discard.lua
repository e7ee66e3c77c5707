-- Forget ended tasks, at once or after a while, and take them off the worker's cleaning list. What was restarted
-- meanwhile is left alone, and what another program has queued again without saying so in the hash.
-- KEYS[1] cleaning (LIST)  KEYS[2] task set (SET)  KEYS[3] new queue (LIST)  KEYS[4] spare (HASH)
-- ARGV[1] task prefix  ARGV[2] seconds for which the hash stays readable  ARGV[3] how near the queue's ends to look, then
-- for each: id, '1' to keep it findable, owner it had when the handler saw it ('': nobody looked): one that has ended
-- once more stands in the end queue again
-- Returns how many are gone or will be.

redis.call('SCARD', KEYS[2])
local prefix, retention, near, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), 0
local waits = redis.call('LLEN', KEYS[3]) > 0

-- Whether another program has queued it again: entries that are spare start nothing.
local function is_queued(id)
  local entries = waits and entries_of(KEYS[3], id, near) or 0
  return entries > 0 and entries > (tonumber(redis.call('HGET', KEYS[4], id) or 0) or 0)
end

for i = 4, #ARGV, 3 do
  local id = ARGV[i]
  local key = prefix .. id
  local h = fields(key, 'state', 'owner')
  local is_seen = h and (ARGV[i + 2] == '' or ARGV[i + 2] == h[2])
  if is_seen and final(h[1]) and not is_queued(id) then
    if ARGV[i + 1] == '1' then
      redis.call('SADD', KEYS[2], id)
    elseif retention > 0 then
      redis.call('EXPIRE', key, retention)
      count = count + 1
    else
      count = count + redis.call('DEL', key)
    end
  end
  redis.call('LREM', KEYS[1], 1, id)
end
return count
