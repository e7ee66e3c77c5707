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

local anew, told, gone = redis.call('ZADD', KEYS.workers, now_ms(), ARGV.worker), {}, {}
local counts, window, now = ARGV.counts == '1', tonumber(ARGV.poison_window), stamp(now_ms())
local prefix, args = ARGV.task_prefix, ARGV
if counts or anew == 1 then note_lease(KEYS.leases, ARGV.worker, ARGV.promise, ARGV.lease) end

for i = EACH.first, #args, EACH.step do
  local id = args[i + EACH.id]
  local outcome = decide_renew(prefix .. id, args[i + EACH.token], window, now)
  if outcome ~= Outcome.FINE then
    local is_lost = outcome == Outcome.LOST or outcome == Outcome.LEFT
    append(told, id, (is_lost or outcome == Outcome.OTHER_CLAIM) and Outcome.LOST or outcome)
    if is_lost then gone[#gone + 1] = id end
  end
end
let_go(KEYS.held, KEYS.running, gone)
return {anew, told, counts and asked_lease(KEYS.monitor, now_ms()) or false}
