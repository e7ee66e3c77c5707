-- Claim one task: RUNNING, with its token. Its id stands in the worker's inbox and already in its hands.
-- KEYS: task
-- ARGV: token seen_owner max_deliveries may_suspect entry max_payload
--   seen_owner: owner that was seen before, '' for none
--   max_deliveries: 0: no limit
--   may_suspect: '1': the worker may take one that a further death would convict
--   entry: 'ours': the entry was pushed by us, 'spare': it is to start nothing, '': another program pushed it
--   max_payload: bytes of data that a worker takes
-- RESEND: yes
-- Returns {'', name, data or, of more than it takes, their number, ms in the queue where somebody wrote down since when},
-- or {why not}: 'changed' since it was looked at, 'later', or a reason to pass over it; with 'ended', 1 where it belongs
-- into the task set all the same. Safe to run twice, and also late: once the task has had another owner, nothing happens.

local token, most, now = ARGV.token, tonumber(ARGV.max_deliveries), now_ms()
local h = fields(KEYS.task, 'task', 'data', 'state', 'local', 'charges', 'owner', 'last_update', 'output',
  'unqueued')
if not h then return {Passed.WRONG_TYPE} end
local state, owner = h[3], h[6]
if owner == token then
  if state == State.RUNNING then return {Passed.CLAIMED, h[1], bounded(h[2], tonumber(ARGV.max_payload))} end
  return {Passed.RUNNING}
end
if (owner or '') ~= ARGV.seen_owner then return {Passed.CHANGED} end
if state == State.RUNNING then return {Passed.RUNNING} end
if h[4] == 'true' then return {Passed.LOCAL} end
if not (h[1] or state) and redis.call('EXISTS', KEYS.task) == 0 then
  return {ARGV.entry == Entry.SPARE and Passed.REMOVED or Passed.EARLY}
end

local again = state and state ~= State.WAIT
if again and ARGV.entry == Entry.SPARE and state == State.STOPPED then return {Passed.STOPPED} end
-- We push what is WAIT already; a push that found it ended came late. Only another program restarts a task by a push.
if again and ARGV.entry ~= Entry.FOREIGN then
  local stays = fields(KEYS.task, 'cleanup', 'kept')
  return {Passed.ENDED, (state == State.STOPPED or stays[1] == 'false' or stays[2]) and 1 or 0}
end
-- Whether we have put it back. Another program that queues it by its state knows no such mark, and begins a clean run.
local is_ours = owner and not again and redis.call('HEXISTS', KEYS.task, 'requeued') == 1
if h[5] and is_ours then
  -- Run side by side, two that one more death would convict would be convicted together.
  if most > 0 and (tonumber(h[5]) or 0) >= most - 1 and ARGV.may_suspect ~= '1' then return {Passed.LATER} end
  redis.call('HSET', KEYS.task, 'since', now)
end
if is_ours then
  redis.call('HDEL', KEYS.task, 'requeued')
elseif again or owner or h[8] then
  forget_run(KEYS.task)
end
redis.call('HSET', KEYS.task, 'state', State.RUNNING, 'owner', token, 'last_update', stamp(now))
if h[9] then queued_now(KEYS.task) end
local since = state == State.WAIT and tonumber(h[7])
-- False also of what is not a number (NaN).
local waited = since and since >= 0 and since * 1000 <= now and math.floor(now - since * 1000) or nil
return {Passed.CLAIMED, h[1], bounded(h[2], tonumber(ARGV.max_payload)), waited}
