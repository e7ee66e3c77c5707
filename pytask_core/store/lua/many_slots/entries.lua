-- How many entries of each id other programs have pushed to the new queue, near its ends.
-- KEYS: new_queue waiting spare
-- ARGV: near
-- EACH: id
-- RESEND: yes

local out, queue = {}, looker(KEYS.new_queue, KEYS.spare)
for i = EACH.first, #ARGV, EACH.step do
  out[#out + 1] = entries_of(KEYS.new_queue, ARGV[i + EACH.id], tonumber(ARGV.near)) - redis.call('HEXISTS', KEYS.waiting, ARGV[i + EACH.id])
    - queue.spare(ARGV[i + EACH.id])
end
return out
