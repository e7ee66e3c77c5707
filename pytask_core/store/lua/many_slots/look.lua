-- A worker's beat, and what its fair share is measured by.
-- KEYS: workers held running leases monitor
-- ARGV: worker promise lease counts
--   promise: number of the promise
--   lease: the lease that the worker promises, ms
--   counts: '1': the promise counts from now on, and the worker wants to know what is asked for; '': it is noted only
--   where the worker was not registered
-- RESEND: yes
-- Returns {1 where the worker was not registered any more, ids it holds, ids all hold, workers, the beat in ms, the lease
-- asked for in ms or false}.

local now = now_ms()
local anew = redis.call('ZADD', KEYS.workers, now, ARGV.worker)
local counts = ARGV.counts == '1'
if counts or anew == 1 then note_lease(KEYS.leases, ARGV.worker, ARGV.promise, ARGV.lease) end
return {anew, redis.call('SCARD', KEYS.held), math.max(tonumber(redis.call('GET', KEYS.running) or 0), 0),
  redis.call('ZCARD', KEYS.workers), now, counts and asked_lease(KEYS.monitor, now) or false}
