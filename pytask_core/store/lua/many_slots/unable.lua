-- Note that a worker begins no tasks now, so that others are given those of its names. Of one slot; used in both regimes.
-- KEYS: workers names
-- ARGV: worker
-- Executed late, when the worker has left, it leaves nothing behind.
-- RESEND: yes

return redis.call('ZSCORE', KEYS.workers, ARGV.worker) and redis.call('SADD', KEYS.names, '')
