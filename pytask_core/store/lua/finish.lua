-- End tasks: final state and output, out of the worker's hands, to the end queue, and the final event. Once.
-- KEYS: task_set held running end_queue new_queue
-- ALSO: tasks
-- ARGV: task_prefix
-- EACH: token state count
--   of tasks that end alike, and of each such task: its id, output (JSON)
-- Returns the ids that were refused: no longer the worker's own. Safe to run twice.

local active, held, running, ended, new = KEYS.task_set, KEYS.held, KEYS.running, KEYS.end_queue, KEYS.new_queue
local prefix, now = ARGV.task_prefix, stamp(now_ms())
local refused, gone, push, leave = {}, {}, {}, {}
check(new, active, held, running)
redis.call('LLEN', ended)

local function finish(id, token, state, output, event)
  local key = prefix .. id
  local h = fields(key, 'owner', 'state', 'cleanup', 'command')
  if not h or h[1] ~= token or h[2] ~= State.RUNNING then
    if not (h and h[1] == token and h[2] == state) then refused[#refused + 1] = id end
    if not in_hands(h, token) then gone[#gone + 1] = id end
    return
  end
  gone[#gone + 1] = id
  if h[4] == Command.RESTART then
    -- It ended by itself before the restart reached it: run it again all the same.
    leave[#leave + 1] = id
    if put_back(key, h[4], redis.call('HGET', key, 'local')) == Outcome.BACK then redis.call('LPUSH', new, id) end
    return
  end
  redis.call('HSET', key, 'state', state, 'output', output, 'last_update', now)
  if h[4] then redis.call('HDEL', key, 'command') end
  if h[3] ~= 'false' then
    push[#push + 1] = id
    leave[#leave + 1] = id
  end
  publish(key, event .. output .. '}')
end

local i = EACH.first
while i < #ARGV do
  local token, state, count = ARGV[i + EACH.token], ARGV[i + EACH.state], tonumber(ARGV[i + EACH.count])
  local event = '{"event": "' .. string.lower(state) .. '", "data": '
  i = i + EACH.step
  for at = i, i + 2 * count - 1, 2 do finish(ARGV[at], token, state, ARGV[at + 1], event) end
  i = i + 2 * count
end
let_go(held, running, gone)
if #push > 0 then redis.call('LPUSH', ended, unpack(push)) end
if #leave > 0 then redis.call('SREM', active, unpack(leave)) end
return refused
