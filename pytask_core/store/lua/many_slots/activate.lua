-- Put ids into the task set. One that a worker is still about to let go of is marked, so that it stays there all the
-- same.
-- KEYS: task_set holders
-- EACH: id
-- RESEND: yes

for _, id in ipairs(ARGV) do
  local noted = redis.call('HGET', KEYS.holders, id)
  if noted and not string.find(noted, ' ' .. Mark.STAYS, 1, true) then
    redis.call('HSET', KEYS.holders, id, string.gsub(noted .. ' ', ' %' .. Mark.LEAVES .. ' ', ' ') .. Mark.STAYS)
  end
end
return redis.call('SADD', KEYS.task_set, unpack(ARGV))
