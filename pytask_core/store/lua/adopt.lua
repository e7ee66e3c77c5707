-- Register a local task: it is born RUNNING in its worker's hands.
-- KEYS: task task_set held running workers
-- ARGV: task_id token name data worker
-- Safe to run twice.

local now = now_ms()
redis.call('SCARD', KEYS.task_set)
redis.call('ZADD', KEYS.workers, now, ARGV.worker)
redis.call('HSET', KEYS.task, 'task', ARGV.name, 'data', ARGV.data, 'local', 'true', 'state', State.RUNNING, 'owner', ARGV.token,
  'last_update', stamp(now))
redis.call('SADD', KEYS.task_set, ARGV.task_id)
redis.call('INCRBY', KEYS.running, redis.call('SADD', KEYS.held, ARGV.task_id))
