-- Forget which ids wait where none does: an operator who empties the queue by hand leaves that behind.
-- KEYS: new_queue waiting spare
-- ALSO: inboxes
-- ARGV: inbox_prefix
-- EACH: worker
-- RESEND: yes
-- Returns 1 where nothing waits.

if redis.call('EXISTS', KEYS.new_queue) == 1 then return 0 end
for i = EACH.first, #ARGV, EACH.step do
  if redis.call('EXISTS', ARGV.inbox_prefix .. ARGV[i + EACH.worker]) == 1 then return 0 end
end
redis.call('DEL', KEYS.waiting, KEYS.spare)
return 1
