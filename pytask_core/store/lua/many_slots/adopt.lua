-- Register a local task: it is born RUNNING in its worker's hands.
-- KEYS[1] the task (HASH)  ARGV[1] token  ARGV[2] name  ARGV[3] data

redis.call('HSET', KEYS[1], 'task', ARGV[2], 'data', ARGV[3], 'local', 'true', 'state', 'RUNNING', 'owner', ARGV[1],
  'last_update', stamp(now_ms()))
return 1
