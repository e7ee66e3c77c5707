-- Note that a worker begins no tasks now, so that others are given those of its names. Of one slot; used in both regimes.
-- KEYS[1] workers (ZSET)  KEYS[2] names (SET)
-- ARGV[1] worker
-- Executed late, when the worker has left, it leaves nothing behind.

return redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('SADD', KEYS[2], '')
