-- Renew a worker's lease and the last_update of its tasks; learn which are lost and which have a command. What is lost
-- leaves its hands: the program that took, removed or started it may know nothing of those.
-- KEYS[1] workers (ZSET)  KEYS[2] leases (HASH)  KEYS[3] monitor (HASH)  KEYS[4] held by the worker (SET)
-- KEYS[5] running (STRING); without tasks the first three alone
-- ARGV[1] task prefix  ARGV[2] worker  ARGV[3] poison_window, ms  ARGV[4] number of the promise  ARGV[5] the lease that the
-- worker promises, ms  ARGV[6] '1': the promise counts from now on, and the worker wants to know what is asked for; '': it is
-- noted only where the worker was not registered, then for each task: id, token
-- Returns {1 where the worker was not registered any more, {id, 'lost' or its command, …}, the lease asked for in ms or
-- false}.

local prefix, now = ARGV[1], now_ms()
local anew, told, gone, update = redis.call('ZADD', KEYS[1], now, ARGV[2]), {}, {}, stamp(now)
local counts = ARGV[6] == '1'
if counts or anew == 1 then note_lease(KEYS[2], ARGV[2], ARGV[4], ARGV[5]) end

for i = 7, #ARGV, 2 do
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
let_go(KEYS[4], KEYS[5], gone)
return {anew, told, counts and asked_lease(KEYS[3], now) or false}
