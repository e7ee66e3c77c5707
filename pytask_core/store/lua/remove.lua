-- Forget a task in whatever state. A worker that runs it is told, and finds its claim gone.
-- KEYS[1] the task (any type)  KEYS[2] task set (SET)  KEYS[3] running (STRING)  KEYS[4] spare (HASH)
-- KEYS[5] new queue (LIST)  KEYS[6] workers (ZSET)  KEYS[7] parked (HASH)  KEYS[8] early (ZSET)
-- ARGV[1] id  ARGV[2] control channel  ARGV[3] prefix of the sets of held ids  ARGV[4] prefix of inboxes
-- Returns 1 where there was such a task, else 0.

redis.call('SCARD', KEYS[2])
redis.call('HLEN', KEYS[4])
local id, queue = ARGV[1], looker(KEYS[5], KEYS[4], ARGV[4], KEYS[6])
redis.call('ZREM', KEYS[8], id)
local was_parked = unpark(KEYS[7], id)
local h = fields(KEYS[1], 'state', 'owner') or {}
local known = redis.call('DEL', KEYS[1]) + redis.call('SREM', KEYS[2], id)
-- Another program may have written another state while a worker has it in hand.
local worker = string.match(h[2] or '', '^(.*):')
if worker then let_go(ARGV[3] .. worker, KEYS[3], {id}) end
if h[1] == 'RUNNING' then nudge(ARGV[2], 'stop', h[2]) end
if known > 0 then
  queue.withdraw(id, queue.spare(id) + (h[1] == 'WAIT' and not was_parked and 1 or 0))
  queue.purge(id)
end
return math.min(known, 1)
