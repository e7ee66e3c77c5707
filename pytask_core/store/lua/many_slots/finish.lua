-- End a task, first step: final state and output, and the final event. Once.
-- KEYS[1] the task (HASH)
-- ARGV[1] token  ARGV[2] state  ARGV[3] output (JSON)  ARGV[4] event, then payloads (JSON) of events before it, in order
-- Returns where its id is to go: 'end', 'end again' where it may stand there already, 'keep' it stays in the task set,
-- 'wait' it is to run again, 'gone', or 'lost': no longer the worker's own.

local h = fields(KEYS[1], 'owner', 'state', 'cleanup', 'command', 'local')
if not h or h[1] ~= ARGV[1] then return 'lost' end
if h[2] ~= 'RUNNING' then
  if h[2] == 'WAIT' then return 'wait' end
  if h[2] ~= ARGV[2] then return 'lost' end
  -- With an expiry Cleanup has had it already.
  if h[3] == 'false' or redis.call('TTL', KEYS[1]) > 0 then return 'keep' end
  return 'end again'
end
publish_from(KEYS[1], ARGV, 5)
if h[4] == 'restart' then
  -- It ended by itself before the restart reached it: run it again all the same.
  return put_back(KEYS[1], h[4], h[5]) == 'WAIT' and 'wait' or 'gone'
end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'output', ARGV[3], 'last_update', stamp(now_ms()))
if h[4] then redis.call('HDEL', KEYS[1], 'command') end
publish(KEYS[1], '{"event": "' .. ARGV[4] .. '", "data": ' .. ARGV[3] .. '}')
return h[3] == 'false' and 'keep' or 'end'
