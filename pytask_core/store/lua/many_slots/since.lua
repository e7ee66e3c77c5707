-- Since when an id is parked, or ''.
-- KEYS: parked
-- ALSO: parked
-- ARGV: task_id
-- RESEND: yes

local name = redis.call('HGET', KEYS.parked, ARGV.task_id)
return name and redis.call('ZSCORE', parked_under(KEYS.parked, name), ARGV.task_id) or ''
