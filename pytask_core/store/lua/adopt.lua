-- Register a local task: it is born RUNNING in its worker's hands.
-- KEYS: task task_set held running workers
-- ARGV: task_id token name data worker
-- Safe to run twice.

redis.call('SCARD', KEYS.task_set)
redis.call('ZADD', KEYS.workers, now_ms(), ARGV.worker)
local outcome = decide_adopt(KEYS.task, ARGV.token, ARGV.name, ARGV.data)
redis.call('SADD', KEYS.task_set, ARGV.task_id)
redis.call('INCRBY', KEYS.running, redis.call('SADD', KEYS.held, ARGV.task_id))
return outcome
