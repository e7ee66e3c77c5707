-- Forget an ended task, at once or after a while. What was restarted meanwhile is left alone.
-- KEYS: task
-- ARGV: retention keep owner
--   retention: seconds for which the hash stays readable
--   keep: '1' to keep it findable instead
--   owner: owner it had when the handler saw it, '' where none did
-- RESEND: yes
-- Returns 'gone', 'keep', 'waits' it is to stand in the queue, or 'other'.

local h = fields(KEYS.task, 'state', 'owner')
if not h then return Outcome.OTHER end
if h[1] == State.WAIT then return Outcome.WAITS end
if not final(h[1]) or (ARGV.owner ~= '' and ARGV.owner ~= h[2]) then return Outcome.OTHER end
if ARGV.keep == '1' then
  redis.call('HSET', KEYS.task, 'kept', '1')
  return Outcome.KEPT
end
if tonumber(ARGV.retention) > 0 then redis.call('EXPIRE', KEYS.task, ARGV.retention) else redis.call('DEL', KEYS.task) end
return Outcome.GONE
