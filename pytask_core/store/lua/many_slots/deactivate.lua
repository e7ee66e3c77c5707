-- Take ids out of the task set; those that a worker has in its hands once it lets go of them.
-- KEYS[1] task set (SET)  KEYS[2] holders (HASH id -> claim tokens, and '+' where it stays)
-- ARGV: ids
-- Returns how many.

local count = 0
for _, id in ipairs(ARGV) do
  local noted = redis.call('HGET', KEYS[2], id)
  if not noted then
    count = count + redis.call('SREM', KEYS[1], id)
  elseif string.find(noted, ' +', 1, true) then
    redis.call('HSET', KEYS[2], id, (string.gsub(noted, ' %+', '')))
  end
end
return count
