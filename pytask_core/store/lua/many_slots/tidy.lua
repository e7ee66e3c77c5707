-- Forget which ids wait where none does: an operator who empties the queue by hand leaves that behind.
-- KEYS[1] new queue (LIST)  KEYS[2] waiting (HASH)  KEYS[3] spare (HASH)
-- ARGV[1] prefix of inboxes, then the workers
-- Returns 1 where nothing waits.

if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for i = 2, #ARGV do
  if redis.call('EXISTS', ARGV[1] .. ARGV[i]) == 1 then return 0 end
end
redis.call('DEL', KEYS[2], KEYS[3])
return 1
