-- Record that tasks were stopped on purpose: STOPPED, still in the task set; or WAIT where a restart was asked for.
-- KEYS[1] task set (SET)  KEYS[2] held by the worker (SET)  KEYS[3] running (STRING)  KEYS[4] new queue (LIST)
-- ARGV[1] task prefix, then for each task: id, token
-- Returns the ids that were refused: no longer the worker's own. Safe to run twice.

local active, held, running, new = unpack(KEYS)
local prefix, refused, gone = ARGV[1], {}, {}
check(new, active)

for i = 2, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local key = prefix .. id
  local h = fields(key, 'owner', 'state', 'command', 'local')
  if not h or h[1] ~= token or h[2] ~= 'RUNNING' then
    if not (h and h[1] == token and h[2] == 'STOPPED') then refused[#refused + 1] = id end
  else
    gone[#gone + 1] = id
    local state = put_back(key, h[3] == 'restart' and 'restart' or 'stop', h[4])
    if state ~= 'STOPPED' then redis.call('SREM', active, id) end
    if state == 'WAIT' then redis.call('LPUSH', new, id) end
  end
end
let_go(held, running, gone)
return refused
