-- The next page of the task set.
-- KEYS[1] monitor (HASH)  KEYS[2] task set (SET)
-- ARGV[1] page size
-- Returns {1 where the page was the last, {id, …}}.

local page = redis.call('SSCAN', KEYS[2], redis.call('HGET', KEYS[1], 'cursor') or '0', 'COUNT', ARGV[1])
redis.call('HSET', KEYS[1], 'cursor', page[1])
return {page[1] == '0' and 1 or 0, page[2]}
