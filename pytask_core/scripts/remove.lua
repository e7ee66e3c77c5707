-- Forget a task in whatever state. A worker that runs it is told, and finds its claim gone.
-- KEYS[1] the task (any type)  KEYS[2] task set (SET)  KEYS[3] running (STRING)  KEYS[4] removed (SET)
-- KEYS[5] new queue (LIST)  KEYS[6] parked (HASH)
-- ARGV[1] id  ARGV[2] control channel  ARGV[3] prefix of the sets of held ids
-- Returns 1 where there was such a task, else 0.

redis.call('SCARD', KEYS[2])
local was_parked = unpark(KEYS[6], ARGV[1])
local id = ARGV[1]
local h = fields(KEYS[1], 'state', 'owner', 'withdrawn', 'task') or {}
local known = redis.call('DEL', KEYS[1]) + redis.call('SREM', KEYS[2], id)
-- Another program may have written another state while a worker has it in hand.
local worker = string.match(h[2] or '', '^(.*):')
if worker then let_go(ARGV[3] .. worker, KEYS[3], {id}) end
if h[1] == 'RUNNING' then
  nudge(ARGV[2], 'stop', h[2])
elseif not was_parked and (h[3] or h[1] == 'WAIT' or (h[4] and not h[1] and redis.call('LPOS', KEYS[5], id))) then
  -- What a foreign program wrote has no state, and is asked for in the queue: it may never have been pushed, and to pass
  -- over the next entry of that id would lose a task.
  redis.call('SADD', KEYS[4], id)
end
return math.min(known, 1)
