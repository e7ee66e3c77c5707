-- Put ids into the task set. One that a worker is still about to let go of is marked, so that it stays there all the same.
-- KEYS[1] task set (SET)  KEYS[2] holders (HASH id -> claim tokens, and '+' where it stays, or '-' where it is to leave)
-- ARGV: ids

for _, id in ipairs(ARGV) do
  local noted = redis.call('HGET', KEYS[2], id)
  if noted and not string.find(noted, ' +', 1, true) then
    redis.call('HSET', KEYS[2], id, string.gsub(noted .. ' ', ' %- ', ' ') .. '+')
  end
end
return redis.call('SADD', KEYS[1], unpack(ARGV))
