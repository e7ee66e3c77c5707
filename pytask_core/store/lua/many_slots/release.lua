-- Take a task from a worker that is gone, first step. Where the worker died, that is charged to the task, and one with too
-- many charges ends as EXCEPTION instead.
-- KEYS[1] the task (HASH)
-- ARGV[1] worker  ARGV[2] max_deliveries, 0: charge nothing  ARGV[3] poison_window, ms
-- ARGV[4] output of a convicted task (JSON)  ARGV[5] last beat of the worker, '' where it is unknown
-- ARGV[6] '1': the worker hung by this task; '0': by another, so that this one is not charged; '': that is not known
-- Returns {what it is: 'WAIT', 'STOPPED', 'GONE', 'end', 'end again', 'keep', or, never or no longer that worker's,
-- 'elsewhere' where it belongs into the task set and 'past' where not; 1 where it is convicted; 1 where it was present at many
-- deaths}. Safe to run twice.

local h = fields(KEYS[1], 'owner', 'state', 'command', 'local', 'cleanup', 'kept')
if h and not h[1] and redis.call('EXISTS', KEYS[1]) == 0 then return {'GONE', 0, 0} end
if not h then return {'elsewhere', 0, 0} end
local state, kept, most = h[2], h[5] == 'false' or h[6], tonumber(ARGV[2])
if not owned_by(h[1], ARGV[1]) then return {is_active(state, h[5], h[6]) and 'elsewhere' or 'past', 0, 0} end
if state == 'RUNNING' then
  state = put_back(KEYS[1], h[3], h[4])
  if state ~= 'WAIT' or most == 0 or h[3] == 'restart' then return {state, 0, 0} end
  if ARGV[6] == '0' then return {state, 0, 0} end
  local charges, deaths
  if ARGV[6] == '1' then charges, deaths = charge_hang(KEYS[1]), 0 end
  if not charges then charges, deaths = charge(KEYS[1], tonumber(ARGV[5]) or now_ms(), tonumber(ARGV[3])) end
  if charges < most then return {state, 0, deaths >= 5 and 1 or 0} end
  redis.call('HSET', KEYS[1], 'state', 'EXCEPTION', 'output', ARGV[4])
  publish(KEYS[1], '{"event": "exception", "data": ' .. ARGV[4] .. '}')
  return {kept and 'keep' or 'end', 1, 0}
end
if not final(state) then return {state or 'elsewhere', 0, 0} end
return {(kept or redis.call('TTL', KEYS[1]) > 0) and 'keep' or 'end again', 0, 0}
