-- Register a local task: it is born RUNNING in its worker's hands.
-- KEYS[1] the task (HASH)  KEYS[2] task set (SET)  KEYS[3] held by the worker (SET)  KEYS[4] running (STRING)
-- KEYS[5] workers (ZSET)
-- ARGV[1] id  ARGV[2] token  ARGV[3] name  ARGV[4] data  ARGV[5] worker
-- Safe to run twice.

local now = now_ms()
redis.call('SCARD', KEYS[2])
redis.call('ZADD', KEYS[5], now, ARGV[5])
redis.call('HSET', KEYS[1], 'task', ARGV[3], 'data', ARGV[4], 'local', 'true', 'state', 'RUNNING', 'owner', ARGV[2],
  'last_update', stamp(now))
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('INCRBY', KEYS[4], redis.call('SADD', KEYS[3], ARGV[1]))
