-- Register a local task: it is born RUNNING in its worker's hands.
-- KEYS: task
-- ARGV: token name data
-- RESEND: yes

redis.call('HSET', KEYS.task, 'task', ARGV.name, 'data', ARGV.data, 'local', 'true', 'state', State.RUNNING, 'owner', ARGV.token,
  'last_update', stamp(now_ms()))
return 1
