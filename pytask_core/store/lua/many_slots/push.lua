-- Put ids into the new queue, each unless it stands there already.
-- KEYS: list waiting spare new_queue inboxes parked
-- ALSO: inboxes
-- ARGV: side inbox_prefix
--   side: 'LPUSH', or 'RPUSH' for the front
-- EACH: id mode
--   id, and 'must': the caller has just made it WAIT, so whoever takes an entry of it now must leave that; 'look':
--   likewise, and another program may have pushed it; 'ensure': it was WAIT already, so an entry that is being taken will
--   do
-- RESEND: yes

-- A script that fails half way is not undone.
redis.call('LLEN', KEYS.list)
redis.call('LLEN', KEYS.new_queue)
-- Who looks for what waits is to find what is put into an inbox here.
if KEYS.list ~= KEYS.new_queue then redis.call('SADD', KEYS.inboxes, string.sub(KEYS.list, #ARGV.inbox_prefix + 1)) end
local some_are_parked = redis.call('HLEN', KEYS.parked) > 0
local queue = looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.inboxes, true)
for i = EACH.first, #ARGV, EACH.step do
  local id, mode = ARGV[i + EACH.id], ARGV[i + EACH.mode]
  if some_are_parked then unpark(KEYS.parked, id) end
  local known, extra = redis.call('HEXISTS', KEYS.waiting, id), queue.spare(id)
  local stands = (known + extra > 0 or mode ~= Push.MUST) and queue.enter(id, known + extra)
  if mode ~= Push.ENSURE or known == 0 then redis.call('HINCRBY', KEYS.waiting, id, 1) end
  if not stands then redis.call(ARGV.side, KEYS.list, id) end
end
return 1
