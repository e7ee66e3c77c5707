-- The next page of the task set.
-- KEYS: monitor task_set
-- ARGV: limit
--   limit: page size
-- RESEND: yes
-- Returns {1 where the page was the last, {id, …}}.

local page = redis.call('SSCAN', KEYS.task_set, redis.call('HGET', KEYS.monitor, 'cursor') or '0', 'COUNT', ARGV.limit)
redis.call('HSET', KEYS.monitor, 'cursor', page[1])
return {page[1] == '0' and 1 or 0, page[2]}
