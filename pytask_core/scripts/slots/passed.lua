-- A claim has passed over a task. Where it was stopped while it waited, one of its entries is gone from the queue; after the
-- last of them the next one starts it.
-- KEYS[1] the task (HASH)  ARGV[1] the mark of that stop, or ''
-- Returns 1, or 0 where the task has been removed meanwhile.

local h = fields(KEYS[1], 'withdrawn')
if h and h[1] and h[1] == ARGV[1] then
  local entries, mark = string.match(h[1], '^(%d+)(:.*)$')
  if entries and tonumber(entries) > 1 then
    redis.call('HSET', KEYS[1], 'withdrawn', (entries - 1) .. mark)
  else
    redis.call('HDEL', KEYS[1], 'withdrawn')
  end
end
return redis.call('EXISTS', KEYS[1])
