-- Look at one task whose id stands in the task set: whether it runs without anybody renewing it (written by hand, by the
-- original, or left so by a crash), or a crash left its id there between two steps.
-- KEYS[1] the task (HASH)
-- ARGV[1] task_timeout, ms  ARGV[2] the lease, in ms, of workers that have promised none  ARGV[3] the owner whose patience is
-- ARGV[4], in ms; '' where nobody has looked for it yet
-- Returns {'' all is well, 'ask' for the lease of its owner, 'missing', 'WAIT', 'STOPPED', 'GONE', 'waits' it stands in the queue or ought to, 'end again';
-- its owner or ''}.

local h = fields(KEYS[1], 'state', 'last_update', 'local', 'owner', 'command', 'cleanup', 'kept')
if not h or (not h[1] and redis.call('EXISTS', KEYS[1]) == 0) then return {'missing', ''} end
local owner = h[4] or ''
local now = now_ms()
local silence = now - renewed_at(KEYS[1], h[2], now, tonumber(ARGV[1]))
if silence <= tonumber(ARGV[1]) then return {'', owner} end
if h[1] == 'RUNNING' then
  if owner ~= '' and owner ~= ARGV[3] then return {'ask', owner} end
  if owner ~= '' and silence <= tonumber(ARGV[4]) then return {'', owner} end
  return {put_back(KEYS[1], h[5], h[3]), owner}
end
-- What a live worker is just about may take it as long as its lease.
if silence <= tonumber(ARGV[2]) then return {'', owner} end
if h[1] == 'WAIT' then return {'waits', owner} end
if final(h[1]) and h[6] ~= 'false' and not h[7] then return {'end again', owner} end
return {'', owner}
