-- Forget ended tasks, at once or after a while, and take them off the worker's cleaning list. What was restarted
-- meanwhile is left alone.
-- KEYS[1] cleaning (LIST)  KEYS[2] task set (SET)
-- ARGV[1] task prefix  ARGV[2] seconds for which the hash stays readable, then for each: id, '1' to keep it findable
-- Returns how many are gone or will be.

redis.call('SCARD', KEYS[2])
local prefix, retention, count = ARGV[1], tonumber(ARGV[2]), 0
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local key = prefix .. id
  local h = fields(key, 'state')
  redis.call('LREM', KEYS[1], 1, id)
  if h and final(h[1]) then
    if ARGV[i + 1] == '1' then
      redis.call('SADD', KEYS[2], id)
    elseif retention > 0 then
      redis.call('EXPIRE', key, retention)
      count = count + 1
    else
      count = count + redis.call('DEL', key)
    end
  end
end
return count
