-- Put ids into the new queue, each unless it stands there already.
-- KEYS[1] list to push to (LIST)  KEYS[2] waiting (HASH id -> how many pushes its one entry stands for)
-- KEYS[3] removed (SET)  KEYS[4] new queue (LIST)  KEYS[5] parked (HASH): an id that is parked waits there no longer
-- ARGV[1] 'LPUSH', or 'RPUSH' for the front; then for each: id, and
--   'must': the caller has just made it WAIT, so whoever takes an entry of it now must leave that;
--   'ensure': it was WAIT already, so an entry that is being taken will do;
--   'entered': like must, and a foreign entry of it probably stands in the queue

-- A script that fails half way is not undone.
redis.call('LLEN', KEYS[1])
redis.call('LLEN', KEYS[4])
local some_are_parked = redis.call('HLEN', KEYS[5]) > 0
for i = 2, #ARGV, 2 do
  local id, mode = ARGV[i], ARGV[i + 1]
  local known = redis.call('HEXISTS', KEYS[2], id) == 1
  if some_are_parked then unpark(KEYS[5], id) end
  -- The entry of a task that was removed serves the one that has its id now.
  local stands = redis.call('SREM', KEYS[3], id) == 1 or known
    or (mode == 'entered' and stands_in(KEYS[4], KEYS[3], id))
  if mode ~= 'ensure' or not known then redis.call('HINCRBY', KEYS[2], id, 1) end
  if not stands then redis.call(ARGV[1], KEYS[1], id) end
end
return 1
