-- End a task, first step: final state and output, and the final event. Once.
-- KEYS: task
-- ARGV: token state output event
--   output: output (JSON)
-- EACH: payload
--   payloads (JSON) of events before it, in order
-- RESEND: yes
-- Returns where its id is to go: 'end', 'end again' where it may stand there already, 'keep' it stays in the task set,
-- 'wait' it is to run again, 'gone', or 'lost': no longer the worker's own.

local h = fields(KEYS.task, 'owner', 'state', 'cleanup', 'command', 'local')
if not h or h[1] ~= ARGV.token then return Outcome.LOST end
if h[2] ~= State.RUNNING then
  if h[2] == State.WAIT then return Outcome.BACK end
  if h[2] ~= ARGV.state then return Outcome.LOST end
  -- With an expiry Cleanup has had it already.
  if h[3] == 'false' or redis.call('TTL', KEYS.task) > 0 then return Outcome.KEPT end
  return Outcome.ENDED_BEFORE
end
publish_from(KEYS.task, ARGV, EACH.first)
if h[4] == Command.RESTART then
  -- It ended by itself before the restart reached it: run it again all the same.
  return put_back(KEYS.task, h[4], h[5])
end
redis.call('HSET', KEYS.task, 'state', ARGV.state, 'output', ARGV.output, 'last_update', stamp(now_ms()))
if h[4] then redis.call('HDEL', KEYS.task, 'command') end
publish(KEYS.task, '{"event": "' .. ARGV.event .. '", "data": ' .. ARGV.output .. '}')
return h[3] == 'false' and Outcome.KEPT or Outcome.ENDED
