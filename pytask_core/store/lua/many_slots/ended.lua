-- Put ids into the end queue.
-- KEYS[1] end queue (LIST)  KEYS[2] number of the worker's last report (STRING)
-- ARGV[1] '1': each unless it stands among the last there, since it may have been put there before
-- ARGV[2] number of this report: one that is sent twice, or executed late, is done once; '' for none  then ids

local again, number = ARGV[1] == '1', tonumber(ARGV[2])
redis.call('LLEN', KEYS[1])
if number then
  if tonumber(redis.call('GET', KEYS[2]) or 0) >= number then return 0 end
  redis.call('SET', KEYS[2], number)
end
for i = 3, #ARGV do
  if not (again and redis.call('LPOS', KEYS[1], ARGV[i], 'MAXLEN', 1000)) then redis.call('LPUSH', KEYS[1], ARGV[i]) end
end
return 1
