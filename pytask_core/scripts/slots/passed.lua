-- A claim has passed over a task. Where it was stopped while it waited, one of its entries is gone from the queue; after the
-- last of them the next one starts it.
-- KEYS[1] the task (HASH)  ARGV[1] the mark of that stop, or ''
-- Returns 1 where its id belongs into the task set, else 0: it waits, has ended, or was removed meanwhile.

local h = fields(KEYS[1], 'withdrawn', 'state', 'cleanup', 'kept')
if not h then return 0 end
if h[1] and h[1] == ARGV[1] then
  local entries, mark = string.match(h[1], '^(%d+)(:.*)$')
  if entries and tonumber(entries) > 1 then
    redis.call('HSET', KEYS[1], 'withdrawn', (entries - 1) .. mark)
  else
    redis.call('HDEL', KEYS[1], 'withdrawn')
  end
end
return is_active(h[2], h[3], h[4]) and 1 or 0
