-- Renew a worker's lease and the last_update of its tasks; learn which are lost and which have a command. What is lost
-- leaves its hands: whoever took it, removed it or started it again may know nothing of those.
-- KEYS[1] workers (ZSET)  KEYS[2] held by the worker (SET)  KEYS[3] running (STRING); without tasks the first alone
-- ARGV[1] task prefix  ARGV[2] worker  ARGV[3] poison_window, ms, then for each task: id, token
-- Returns {1 where the worker was not registered any more, {id, 'lost' or its command, …}}.

local prefix, now = ARGV[1], now_ms()
local anew, told, gone, update = redis.call('ZADD', KEYS[1], now, ARGV[2]), {}, {}, stamp(now)

for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local key = prefix .. id
  local h = fields(key, 'owner', 'state', 'command', 'charges', 'since')
  if not h or h[1] ~= ARGV[i + 1] or h[2] ~= 'RUNNING' then
    append(told, id, 'lost')
    if not in_hands(h, ARGV[i + 1]) then gone[#gone + 1] = id end
  else
    redis.call('HSET', key, 'last_update', update)
    if h[3] then append(told, id, h[3]) end
    if h[4] and standing(h[4], h[5], now, tonumber(ARGV[3])) == 0 then redis.call('HDEL', key, 'charges', 'since') end
  end
end
let_go(KEYS[2], KEYS[3], gone)
return {anew, told}
