-- Stands before a script that a client sends: one that is carried out late does nothing.
-- ARGV, the last: until when, in ms of this server's clock; '' for ever. The script itself does not see it.

local last_moment = tonumber(table.remove(ARGV))
if last_moment and now_ms() > last_moment then
  return redis.error_reply('LATE the server got to it only when its time was over')
end
