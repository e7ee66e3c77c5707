-- End a task that has been parked for too long, first step: EXCEPTION, and the final event.
-- KEYS[1] the task (HASH)
-- ARGV[1] output (JSON)
-- Returns where its id is to go: 'end', 'end again' where it may stand there already, 'keep' it stays in the task set,
-- or 'other' where it does not wait. Safe to run twice.

local h = fields(KEYS[1], 'state', 'cleanup', 'task', 'output')
if not h then return 'other' end
if h[1] == 'EXCEPTION' and h[4] == ARGV[1] then return h[2] == 'false' and 'keep' or 'end again' end
if h[1] ~= 'WAIT' and (h[1] or not h[3]) then return 'other' end
redis.call('HSET', KEYS[1], 'state', 'EXCEPTION', 'output', ARGV[1], 'last_update', stamp(now_ms()))
redis.call('PUBLISH', KEYS[1], '{"event": "exception", "data": ' .. ARGV[1] .. '}')
return h[2] == 'false' and 'keep' or 'end'
