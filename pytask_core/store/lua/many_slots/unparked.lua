-- Take ids out of where they are parked, unless they were parked once more since.
-- KEYS[1] parked (HASH)
-- ARGV: for each: id, since when it was parked as that was looked at

for i = 1, #ARGV, 2 do
  local name = redis.call('HGET', KEYS[1], ARGV[i])
  if name and redis.call('ZSCORE', parked_under(KEYS[1], name), ARGV[i]) == ARGV[i + 1] then unpark(KEYS[1], ARGV[i]) end
end
return 1
