-- Put ids into the new queue, each unless it stands there already.
-- KEYS[1] list to push to (LIST)  KEYS[2] waiting (HASH id -> how many pushes its one entry stands for)
-- KEYS[3] spare (HASH)  KEYS[4] new queue (LIST)  KEYS[5] inboxes (SET)
-- KEYS[6] parked (HASH): an id that is parked waits there no longer
-- ARGV[1] 'LPUSH', or 'RPUSH' for the front  ARGV[2] prefix of inboxes; then for each: id, and
--   'must': the caller has just made it WAIT, so whoever takes an entry of it now must leave that;
--   'look': likewise, and another program may have pushed it;
--   'ensure': it was WAIT already, so an entry that is being taken will do

-- A script that fails half way is not undone.
redis.call('LLEN', KEYS[1])
redis.call('LLEN', KEYS[4])
-- Who looks for what waits is to find what is put into an inbox here.
if KEYS[1] ~= KEYS[4] then redis.call('SADD', KEYS[5], string.sub(KEYS[1], #ARGV[2] + 1)) end
local some_are_parked = redis.call('HLEN', KEYS[6]) > 0
local queue = looker(KEYS[4], KEYS[3], ARGV[2], KEYS[5], true)
for i = 3, #ARGV, 2 do
  local id, mode = ARGV[i], ARGV[i + 1]
  if some_are_parked then unpark(KEYS[6], id) end
  local known, extra = redis.call('HEXISTS', KEYS[2], id), queue.spare(id)
  local stands = (known + extra > 0 or mode ~= 'must') and queue.enter(id, known + extra)
  if mode ~= 'ensure' or known == 0 then redis.call('HINCRBY', KEYS[2], id, 1) end
  if not stands then redis.call(ARGV[1], KEYS[1], id) end
end
return 1
