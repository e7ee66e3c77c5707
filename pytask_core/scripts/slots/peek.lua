-- What a claim must know of a task before it.
-- KEYS[1] the task (HASH)
-- Returns {owner or '', deaths that count against it}.

local h = fields(KEYS[1], 'owner', 'charges') or {}
return {h[1] or '', tonumber(h[2] or 0) or 0}
