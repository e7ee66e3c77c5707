-- Renew a worker's lease and the last_update of its tasks; learn which are lost and which have a command. What is lost
-- leaves its hands: the program that took, removed or started it may know nothing of those.
-- KEYS: workers leases monitor held running
-- ALSO: tasks
-- ARGV: task_prefix worker poison_window promise lease counts
--   poison_window: ms
--   promise: number of the promise
--   lease: the lease that the worker promises, ms
--   counts: '1': the promise counts from now on, and the worker wants to know what is asked for; '': it is noted only
--   where the worker was not registered
-- EACH: id token
-- Returns {1 where the worker was not registered any more, {id, 'lost' or its command, …}, the lease asked for in ms or
-- false}.

local prefix, now = ARGV.task_prefix, now_ms()
local anew, told, gone, update = redis.call('ZADD', KEYS.workers, now, ARGV.worker), {}, {}, stamp(now)
local counts = ARGV.counts == '1'
if counts or anew == 1 then note_lease(KEYS.leases, ARGV.worker, ARGV.promise, ARGV.lease) end

for i = EACH.first, #ARGV, EACH.step do
  local id = ARGV[i + EACH.id]
  local key = prefix .. id
  local h = fields(key, 'owner', 'state', 'command', 'charges', 'since')
  if not h or h[1] ~= ARGV[i + EACH.token] or h[2] ~= State.RUNNING then
    append(told, id, Outcome.LOST)
    if not in_hands(h, ARGV[i + EACH.token]) then gone[#gone + 1] = id end
  else
    redis.call('HSET', key, 'last_update', update)
    if h[3] then append(told, id, h[3]) end
    if h[4] and standing(h[4], h[5], now, tonumber(ARGV.poison_window)) == 0 then redis.call('HDEL', key, 'charges', 'since') end
  end
end
let_go(KEYS.held, KEYS.running, gone)
return {anew, told, counts and asked_lease(KEYS.monitor, now) or false}
