-- Renew a worker's lease and the last_update of its tasks; learn which are lost and which have a command.
-- KEYS[1] workers (ZSET)
-- ARGV[1] task prefix  ARGV[2] worker  ARGV[3] poison_window, ms, then for each task: id, token
-- Returns {1 where the worker was not registered any more, {id, 'lost' or its command, …}}.

local prefix, now = ARGV[1], now_ms()
local anew, told, update = redis.call('ZADD', KEYS[1], now, ARGV[2]), {}, stamp(now)

for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local key = prefix .. id
  local h = fields(key, 'owner', 'state', 'command', 'charges', 'since')
  if not h or h[1] ~= ARGV[i + 1] or h[2] ~= 'RUNNING' then
    append(told, id, 'lost')
  else
    redis.call('HSET', key, 'last_update', update)
    if h[3] then append(told, id, h[3]) end
    if h[4] and standing(h[4], h[5], now, tonumber(ARGV[3])) == 0 then redis.call('HDEL', key, 'charges', 'since') end
  end
end
return {anew, told}
