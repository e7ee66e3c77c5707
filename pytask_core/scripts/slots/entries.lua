-- How many entries of each id stand in the new queue, near its ends.
-- KEYS[1] new queue (LIST)  KEYS[2] waiting (HASH)
-- ARGV[1] how near  ARGV[2] '1': only those that other programs have pushed  then ids

local out, near = {}, tonumber(ARGV[1])
for i = 3, #ARGV do
  local ours = ARGV[2] == '1' and redis.call('HEXISTS', KEYS[2], ARGV[i]) or 0
  out[#out + 1] = entries_of(KEYS[1], ARGV[i], near) - ours
end
return out
