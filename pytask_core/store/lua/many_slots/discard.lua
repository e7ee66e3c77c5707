-- Forget an ended task, at once or after a while. What was restarted meanwhile is left alone.
-- KEYS[1] the task (HASH)
-- ARGV[1] seconds for which the hash stays readable  ARGV[2] '1' to keep it findable instead
-- ARGV[3] owner it had when the handler saw it, '' where none did
-- Returns 'gone', 'keep', 'waits' it is to stand in the queue, or 'other'.

local h = fields(KEYS[1], 'state', 'owner')
if not h then return 'other' end
if h[1] == 'WAIT' then return 'waits' end
if not final(h[1]) or (ARGV[3] ~= '' and ARGV[3] ~= h[2]) then return 'other' end
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'kept', '1')
  return 'keep'
end
if tonumber(ARGV[1]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[1]) else redis.call('DEL', KEYS[1]) end
return 'gone'
