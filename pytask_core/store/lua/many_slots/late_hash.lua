-- Settle what became of ids that came before their hash. Of one slot; used in both regimes. Safe to run twice.
-- KEYS: new_queue early
-- ARGV: with_hash
--   with_hash: how many of the ids have a hash by now: those go to the front of the queue, unless they stand there
-- EACH: id
--   ids, these first
-- RESEND: yes
-- Returns how many are still early.

redis.call('LLEN', KEYS.new_queue)
for i = EACH.first, #ARGV, EACH.step do
  local is_new = redis.call('ZREM', KEYS.early, ARGV[i + EACH.id]) == 1 and i - EACH.first < tonumber(ARGV.with_hash)
  if is_new and entries_of(KEYS.new_queue, ARGV[i + EACH.id], NEAR) == 0 then redis.call('RPUSH', KEYS.new_queue, ARGV[i + EACH.id]) end
end
return redis.call('ZCARD', KEYS.early)
