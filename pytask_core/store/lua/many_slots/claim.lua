-- Claim one task: RUNNING, with its token. Its id stands in the worker's inbox and already in its hands.
-- KEYS[1] the task (HASH)
-- ARGV[1] token  ARGV[2] owner that was seen before, '' for none  ARGV[3] max_deliveries, 0: no limit
-- ARGV[4] '1': the worker may take one that a further death would convict
-- ARGV[5] 'ours': the entry was pushed by us, 'spare': it is to start nothing, '': another program pushed it
-- ARGV[6] bytes of data that a worker takes
-- Returns {'', name, data or, of more than it takes, their number, ms in the queue where somebody wrote down since when}, or {why not}: 'changed' since it was
-- looked at, 'later', or a reason to pass over it; with 'ended', 1 where it belongs into the task set all the same. Safe to
-- run twice, and also late: once the task has had another owner, nothing happens.

local token, most, now = ARGV[1], tonumber(ARGV[3]), now_ms()
local h = fields(KEYS[1], 'task', 'data', 'state', 'local', 'charges', 'owner', 'last_update', 'output',
  'unqueued')
if not h then return {'wrong type'} end
local state, owner = h[3], h[6]
if owner == token then
  if state == 'RUNNING' then return {'', h[1], bounded(h[2], tonumber(ARGV[6]))} end
  return {'running'}
end
if (owner or '') ~= ARGV[2] then return {'changed'} end
if state == 'RUNNING' then return {'running'} end
if h[4] == 'true' then return {'local'} end
if not (h[1] or state) and redis.call('EXISTS', KEYS[1]) == 0 then
  return {ARGV[5] == 'spare' and 'removed' or 'early'}
end

local again = state and state ~= 'WAIT'
if again and ARGV[5] == 'spare' and state == 'STOPPED' then return {'stopped'} end
-- We push what is WAIT already; a push that found it ended came late. Only another program restarts a task by a push.
if again and ARGV[5] ~= '' then
  local stays = fields(KEYS[1], 'cleanup', 'kept')
  return {'ended', (state == 'STOPPED' or stays[1] == 'false' or stays[2]) and 1 or 0}
end
-- Whether we have put it back. Another program that queues it by its state knows no such mark, and begins a clean run.
local is_ours = owner and not again and redis.call('HEXISTS', KEYS[1], 'requeued') == 1
if h[5] and is_ours then
  -- Run side by side, two that one more death would convict would be convicted together.
  if most > 0 and (tonumber(h[5]) or 0) >= most - 1 and ARGV[4] ~= '1' then return {'later'} end
  redis.call('HSET', KEYS[1], 'since', now)
end
if is_ours then
  redis.call('HDEL', KEYS[1], 'requeued')
elseif again or owner or h[8] then
  forget_run(KEYS[1])
end
redis.call('HSET', KEYS[1], 'state', 'RUNNING', 'owner', token, 'last_update', stamp(now))
if h[9] then queued_now(KEYS[1]) end
local since = state == 'WAIT' and tonumber(h[7])
-- False also of what is not a number (NaN).
local waited = since and since >= 0 and since * 1000 <= now and math.floor(now - since * 1000) or nil
return {'', h[1], bounded(h[2], tonumber(ARGV[6])), waited}
