-- Ask for a lease, and begin a round of Monitor, unless another Monitor has had one within the interval; name the workers
-- that are overdue. The shortest lease that any Monitor asks for is in force, until three of that Monitor's intervals
-- have gone by without it.
-- KEYS: monitor workers running leases
-- ALSO: held
-- ARGV: interval task_timeout held_prefix unknown
--   interval: ms
--   task_timeout: ms
--   unknown: the lease, in ms, of workers that have promised none
-- Returns false where it is another's round, else {worker, ms of silence that it may have had, …}. A worker without a
-- beat at all is never overdue; sweep.lua finds what it left.

local now = now_ms()
local last = tonumber(redis.call('HGET', KEYS.monitor, 'round') or 0)
local asked = asked_lease(KEYS.monitor, now)
if not asked or tonumber(ARGV.task_timeout) <= asked then
  asked = tonumber(ARGV.task_timeout)
  redis.call('HSET', KEYS.monitor, 'lease', ARGV.task_timeout, 'lease_until', string.format('%d', now + 3 * ARGV.interval + 1000))
end
-- Nine tenths, so that the jitter of two loops of the same interval does not let every second round fall out.
if last <= now and now - last < ARGV.interval * 0.9 then return false end
redis.call('HSET', KEYS.monitor, 'round', now)
-- A beat that lies far ahead (the clock was set back, or another program wrote it) would never be overdue. A worker that lives
-- writes another soon.
local ahead = redis.call('ZRANGEBYSCORE', KEYS.workers, '(' .. string.format('%.0f', now + ARGV.task_timeout), '+inf', 'LIMIT', 0, 1000)
for _, worker in ipairs(ahead) do redis.call('ZADD', KEYS.workers, 'XX', now, worker) end
-- Held sets that were deleted by hand would leave the count wrong for ever.
local count = 0
for _, worker in ipairs(redis.call('ZRANGE', KEYS.workers, 0, 999)) do
  count = count + redis.call('SCARD', ARGV.held_prefix .. worker)
end
if redis.call('ZCARD', KEYS.workers) <= 1000 then redis.call('SET', KEYS.running, count) end
-- A worker that beats more rarely than the lease asked for, and has not heard of that yet, stands among the silent ones.
local silent = redis.call('ZRANGEBYSCORE', KEYS.workers, '-inf', now - asked, 'WITHSCORES', 'LIMIT', 0, 10000)
local overdue = {}
for i = 1, #silent, 2 do
  local lease = lease_of(KEYS.leases, silent[i], asked, ARGV.unknown)
  if now - silent[i + 1] >= lease then append(overdue, silent[i], lease) end
  if #overdue >= 200 then break end
end
return overdue
