-- Look at one task whose id stands in the task set: whether it runs without anybody renewing it (written by hand, by the
-- original, or left so by a crash), or a crash left its id there between two steps.
-- KEYS: task
-- ARGV: task_timeout unknown owner patience
--   task_timeout: ms
--   unknown: the lease, in ms, of workers that have promised none
--   owner: the owner whose patience is given next, in ms; '' where nobody has looked for it yet
-- RESEND: yes
-- Returns {'' all is well, 'ask' for the lease of its owner, 'missing', 'WAIT', 'STOPPED', 'GONE', 'waits' it stands in
-- the queue or ought to, 'end again'; its owner or ''}.

local h = fields(KEYS.task, 'state', 'last_update', 'local', 'owner', 'command', 'cleanup', 'kept')
if not h or (not h[1] and redis.call('EXISTS', KEYS.task) == 0) then return {Outcome.MISSING, ''} end
local owner = h[4] or ''
local now = now_ms()
local silence = now - renewed_at(KEYS.task, h[2], now, tonumber(ARGV.task_timeout))
if silence <= tonumber(ARGV.task_timeout) then return {Outcome.FINE, owner} end
if h[1] == State.RUNNING then
  if owner ~= '' and owner ~= ARGV.owner then return {Outcome.ASK, owner} end
  if owner ~= '' and silence <= tonumber(ARGV.patience) then return {Outcome.FINE, owner} end
  return {put_back(KEYS.task, h[5], h[3]), owner}
end
-- What a live worker is just about may take it as long as its lease.
if silence <= tonumber(ARGV.unknown) then return {Outcome.FINE, owner} end
if h[1] == State.WAIT then return {Outcome.WAITS, owner} end
if final(h[1]) and h[6] ~= 'false' and not h[7] then return {Outcome.ENDED_BEFORE, owner} end
return {Outcome.FINE, owner}
