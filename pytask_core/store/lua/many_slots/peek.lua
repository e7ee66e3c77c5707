-- What a claim must know of a task before it.
-- KEYS: task
-- RESEND: yes
-- Returns {owner or '', deaths that count against it, bytes of its data}.

local h = fields(KEYS.task, 'owner', 'charges')
if not h then return {'', 0, 0} end
return {h[1] or '', tonumber(h[2] or 0) or 0, redis.call('HSTRLEN', KEYS.task, 'data')}
