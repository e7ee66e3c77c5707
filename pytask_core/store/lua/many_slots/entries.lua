-- How many entries of each id other programs have pushed to the new queue, near its ends.
-- KEYS[1] new queue (LIST)  KEYS[2] waiting (HASH)  KEYS[3] spare (HASH)
-- ARGV[1] how near  then ids

local out, queue = {}, looker(KEYS[1], KEYS[3])
for i = 2, #ARGV do
  out[i - 1] = entries_of(KEYS[1], ARGV[i], tonumber(ARGV[1])) - redis.call('HEXISTS', KEYS[2], ARGV[i])
    - queue.spare(ARGV[i])
end
return out
