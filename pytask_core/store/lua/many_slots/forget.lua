-- Forget a worker that holds nothing any more.
-- KEYS: workers held names suspect leases
-- ARGV: worker
-- RESEND: yes
-- Returns how many ids it still holds; 0 where it is forgotten.

local left = redis.call('SCARD', KEYS.held)
if left == 0 then
  redis.call('ZREM', KEYS.workers, ARGV.worker)
  redis.call('HDEL', KEYS.leases, ARGV.worker)
  redis.call('DEL', KEYS.names, KEYS.suspect)
end
return left
