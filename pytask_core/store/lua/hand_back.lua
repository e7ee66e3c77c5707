-- Hand back what a worker held: its tasks to the front of the new queue as WAIT, its inbox and its cleaning list to the
-- queues they came from; when nothing is left, forget the worker. Where it died, that is charged to the tasks it ran, and
-- one with too many charges ends as EXCEPTION instead.
-- KEYS: new_queue inbox task_set held running workers end_queue cleaning names suspect last_claim leases
-- ALSO: tasks
-- ARGV: task_prefix worker limit overdue_by max_deliveries poison_window verdict culprit culprit_verdict
--   limit: ids at most in this call
--   overdue_by: ms: do so only where the worker has not beaten for so long, nor for as long as it has promised to; '' for
--   one known to be gone
--   max_deliveries: 0: charge nothing
--   poison_window: ms
--   verdict: output of a convicted task (JSON)
--   culprit: the task by which the worker hung, where that is known: it alone is charged; else ''
--   culprit_verdict: its output, likewise
-- Returns {how many ids wait again, how many are left; -1 where the worker is alive, {convicted id, …}, {id that was
-- present at many deaths, …}, 1 where it was registered}.

local new, inbox, active, held, running = KEYS.new_queue, KEYS.inbox, KEYS.task_set, KEYS.held, KEYS.running
local ended, cleaning = KEYS.end_queue, KEYS.cleaning
local prefix, worker, limit = ARGV.task_prefix, ARGV.worker, tonumber(ARGV.limit)
local most, window, now = tonumber(ARGV.max_deliveries), tonumber(ARGV.poison_window), now_ms()
check(new, active, held, running)
for _, list in ipairs({ended, inbox, cleaning}) do redis.call('LLEN', list) end
local beat = tonumber(redis.call('ZSCORE', KEYS.workers, worker) or '')
if ARGV.overdue_by ~= '' and beat and beat > now - lease_of(KEYS.leases, worker, tonumber(ARGV.overdue_by), 0) then return {0, -1, {}, {}, 0} end
local decided, convicted, often = {}, {}, {}

for _, id in ipairs(redis.call('SRANDMEMBER', held, limit)) do
  local hung = ARGV.culprit == '' and '' or id == ARGV.culprit and '1' or '0'
  local verdict = hung == '1' and ARGV.culprit_verdict or ARGV.verdict
  local outcome, is_convicted, is_often = decide_release(prefix .. id, worker, most, window, verdict, beat or now, hung)
  note(decided, id, outcome)
  if is_convicted then convicted[#convicted + 1] = id end
  if is_often then often[#often + 1] = id end
end
part_with(decided, active, held, running, 'RPUSH', new, ended)
local boxed = redis.call('RPOP', inbox, limit) or {}
if #boxed > 0 then redis.call('RPUSH', new, unpack(boxed)) end
local unclean = redis.call('RPOP', cleaning, limit) or {}
if #unclean > 0 then redis.call('RPUSH', ended, unpack(unclean)) end
local left = redis.call('SCARD', held) + redis.call('LLEN', inbox) + redis.call('LLEN', cleaning)
if left == 0 then
  redis.call('ZREM', KEYS.workers, worker)
  redis.call('HDEL', KEYS.leases, worker)
  redis.call('DEL', KEYS.names, KEYS.suspect, KEYS.last_claim)
end
return {#(decided[Outcome.BACK] or {}) + #boxed, left, convicted, often, beat and 1 or 0}
