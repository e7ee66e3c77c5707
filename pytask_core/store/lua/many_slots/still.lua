-- Which ids are noted as in a worker's hands. KEYS[1] held by the worker (SET)  ARGV: ids
-- Returns for each 1 or 0.

return redis.call('SMISMEMBER', KEYS[1], unpack(ARGV))
