-- Take a task from a worker that is gone, first step. Where the worker died, that is charged to the task, and one with
-- too many charges ends as EXCEPTION instead.
-- KEYS: task
-- ARGV: worker max_deliveries poison_window verdict beat hung
--   max_deliveries: 0: charge nothing
--   poison_window: ms
--   verdict: output of a convicted task (JSON)
--   beat: last beat of the worker, '' where it is unknown
--   hung: '1': the worker hung by this task; '0': by another, so that this one is not charged; '': that is not known
-- RESEND: yes
-- Returns {what it is: 'WAIT', 'STOPPED', 'GONE', 'end', 'end again', 'keep', or, never or no longer that worker's,
-- 'elsewhere' where it belongs into the task set and 'past' where not; 1 where it is convicted; 1 where it was present at
-- many deaths}. Safe to run twice.

local h = fields(KEYS.task, 'owner', 'state', 'command', 'local', 'cleanup', 'kept')
if h and not h[1] and redis.call('EXISTS', KEYS.task) == 0 then return {Outcome.GONE, 0, 0} end
if not h then return {Outcome.ELSEWHERE, 0, 0} end
local state, kept, most = h[2], h[5] == 'false' or h[6], tonumber(ARGV.max_deliveries)
if not owned_by(h[1], ARGV.worker) then return {is_active(state, h[5], h[6]) and Outcome.ELSEWHERE or Outcome.PAST, 0, 0} end
if state == State.RUNNING then
  local outcome = put_back(KEYS.task, h[3], h[4])
  if outcome ~= Outcome.BACK or most == 0 or h[3] == Command.RESTART then return {outcome, 0, 0} end
  if ARGV.hung == '0' then return {outcome, 0, 0} end
  local charges, deaths
  if ARGV.hung == '1' then charges, deaths = charge_hang(KEYS.task), 0 end
  if not charges then charges, deaths = charge(KEYS.task, tonumber(ARGV.beat) or now_ms(), tonumber(ARGV.poison_window)) end
  if charges < most then return {outcome, 0, deaths >= 5 and 1 or 0} end
  redis.call('HSET', KEYS.task, 'state', State.EXCEPTION, 'output', ARGV.verdict)
  publish(KEYS.task, '{"event": "exception", "data": ' .. ARGV.verdict .. '}')
  return {kept and Outcome.KEPT or Outcome.ENDED, 1, 0}
end
if not final(state) then
  -- It was taken from that worker before.
  return {state == State.WAIT and Outcome.BACK or state == State.STOPPED and Outcome.STOPPED or Outcome.ELSEWHERE, 0, 0}
end
return {(kept or redis.call('TTL', KEYS.task) > 0) and Outcome.KEPT or Outcome.ENDED_BEFORE, 0, 0}
