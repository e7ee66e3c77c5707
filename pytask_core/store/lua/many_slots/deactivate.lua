-- Take ids out of the task set; those that a worker has in its hands once it lets go of them.
-- KEYS: task_set holders
-- EACH: id
-- RESEND: yes
-- Returns how many.

local count = 0
for _, id in ipairs(ARGV) do
  local noted = redis.call('HGET', KEYS.holders, id)
  if not noted then
    count = count + redis.call('SREM', KEYS.task_set, id)
  elseif string.find(noted, ' ' .. Mark.STAYS, 1, true) then
    redis.call('HSET', KEYS.holders, id, (string.gsub(noted, ' %' .. Mark.STAYS, '')))
  end
end
return count
