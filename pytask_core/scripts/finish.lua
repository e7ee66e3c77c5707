-- End tasks: final state and output, out of the worker's hands, to the end queue, and the final event. Once.
-- KEYS[1] task set (SET)  KEYS[2] held by the worker (SET)  KEYS[3] running (STRING)  KEYS[4] end queue (LIST)
-- KEYS[5] new queue (LIST)
-- ARGV[1] task prefix, then for each task: id, token, state, output (JSON), event
-- Returns the ids that were refused: no longer the worker's own. Safe to run twice.

local active, held, running, ended, new = unpack(KEYS)
local prefix, now = ARGV[1], stamp(now_ms())
local refused, gone, push, leave = {}, {}, {}, {}
check(new, active)
redis.call('LLEN', ended)

for i = 2, #ARGV, 5 do
  local id, token, state, output = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = prefix .. id
  local h = fields(key, 'owner', 'state', 'cleanup', 'command', 'local')
  if not h or h[1] ~= token or h[2] ~= 'RUNNING' then
    if not (h and h[1] == token and h[2] == state) then refused[#refused + 1] = id end
  else
    gone[#gone + 1] = id
    if h[4] == 'restart' then
      -- It ended by itself before the restart reached it: run it again all the same.
      leave[#leave + 1] = id
      if put_back(key, h[4], h[5]) == 'WAIT' then redis.call('LPUSH', new, id) end
    else
      redis.call('HSET', key, 'state', state, 'output', output, 'last_update', now)
      if h[4] then redis.call('HDEL', key, 'command') end
      if h[3] ~= 'false' then
        push[#push + 1] = id
        leave[#leave + 1] = id
      end
      redis.call('PUBLISH', key, '{"event": "' .. ARGV[i + 4] .. '", "data": ' .. output .. '}')
    end
  end
end
let_go(held, running, gone)
if #push > 0 then redis.call('LPUSH', ended, unpack(push)) end
if #leave > 0 then redis.call('SREM', active, unpack(leave)) end
return refused
