-- Ask for a lease, and begin a round of Monitor, unless another Monitor has had one within the interval; name the workers that
-- are overdue. The shortest lease that any Monitor asks for is in force, until three of that Monitor's intervals have gone by
-- without it.
-- KEYS[1] monitor (HASH)  KEYS[2] workers (ZSET)  KEYS[3] running (STRING)  KEYS[4] leases (HASH)
-- ARGV[1] interval, ms  ARGV[2] task_timeout, ms  ARGV[3] prefix of the sets of held ids  ARGV[4] the lease, in ms, of workers
-- that have promised none
-- Returns false where it is another's round, else {worker, ms of silence that it may have had, …}.
-- A worker without a beat at all is never overdue; sweep.lua finds what it left.

local now = now_ms()
local last = tonumber(redis.call('HGET', KEYS[1], 'round') or 0)
local asked = asked_lease(KEYS[1], now)
if not asked or tonumber(ARGV[2]) <= asked then
  asked = tonumber(ARGV[2])
  redis.call('HSET', KEYS[1], 'lease', ARGV[2], 'lease_until', string.format('%d', now + 3 * ARGV[1] + 1000))
end
-- Nine tenths, so that the jitter of two loops of the same interval does not let every second round fall out.
if last <= now and now - last < ARGV[1] * 0.9 then return false end
redis.call('HSET', KEYS[1], 'round', now)
-- A beat that lies far ahead (the clock was set back, or another program wrote it) would never be overdue. A worker that lives
-- writes another soon.
local ahead = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now + ARGV[2]), '+inf', 'LIMIT', 0, 1000)
for _, worker in ipairs(ahead) do redis.call('ZADD', KEYS[2], 'XX', now, worker) end
-- Held sets that were deleted by hand would leave the count wrong for ever.
local count = 0
for _, worker in ipairs(redis.call('ZRANGE', KEYS[2], 0, 999)) do
  count = count + redis.call('SCARD', ARGV[3] .. worker)
end
if redis.call('ZCARD', KEYS[2]) <= 1000 then redis.call('SET', KEYS[3], count) end
-- A worker that beats more rarely than the lease asked for, and has not heard of that yet, stands among the silent ones.
local silent = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - asked, 'WITHSCORES', 'LIMIT', 0, 10000)
local overdue = {}
for i = 1, #silent, 2 do
  local lease = lease_of(KEYS[4], silent[i], asked, ARGV[4])
  if now - silent[i + 1] >= lease then append(overdue, silent[i], lease) end
  if #overdue >= 200 then break end
end
return overdue
