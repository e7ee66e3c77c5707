-- Settle what became of ids that came before their hash. Of one slot; used in both regimes. Safe to run twice.
-- KEYS[1] new queue (LIST)  KEYS[2] early (ZSET)
-- ARGV[1] how many of the ids have a hash by now: those go to the front of the queue, unless they stand there  then ids, these first
-- Returns how many are still early.

redis.call('LLEN', KEYS[1])
for i = 2, #ARGV do
  local is_new = redis.call('ZREM', KEYS[2], ARGV[i]) == 1 and i - 1 <= tonumber(ARGV[1])
  if is_new and entries_of(KEYS[1], ARGV[i], NEAR) == 0 then redis.call('RPUSH', KEYS[1], ARGV[i]) end
end
return redis.call('ZCARD', KEYS[2])
