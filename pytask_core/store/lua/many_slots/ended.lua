-- Put ids into the end queue.
-- KEYS: end_queue last_report
-- ARGV: again number
--   again: '1': each unless it stands among the last there, since it may have been put there before
--   number: number of this report: one that is sent twice, or executed late, is done once; '' for none
-- EACH: id
-- RESEND: yes

local again, number = ARGV.again == '1', tonumber(ARGV.number)
redis.call('LLEN', KEYS.end_queue)
if number then
  if tonumber(redis.call('GET', KEYS.last_report) or 0) >= number then return 0 end
  redis.call('SET', KEYS.last_report, number)
end
for i = EACH.first, #ARGV, EACH.step do
  if not (again and redis.call('LPOS', KEYS.end_queue, ARGV[i + EACH.id], 'MAXLEN', 1000)) then redis.call('LPUSH', KEYS.end_queue, ARGV[i + EACH.id]) end
end
return 1
