-- Take tasks from a worker that does not know their names: each goes to the inbox of a live worker that does, or is parked
-- until one registers. Both in one step with the look for one, so that none can register in between.
-- KEYS[1] task set (SET)  KEYS[2] held by this worker (SET)  KEYS[3] running (STRING)  KEYS[4] workers (ZSET)
-- KEYS[5] new queue (LIST)  KEYS[6] parked (HASH)
-- ARGV[1] task prefix  ARGV[2] this worker  ARGV[3] prefix of names  ARGV[4] prefix of inboxes
-- ARGV[5] task_timeout in ms: a worker that has not beaten for so long is not live
-- ARGV[6] what a worker is told on its control channel whose inbox was empty
-- then for each task: id, token, name
-- Returns for each task the worker that has it now; '' where it is parked; 'new' where it is so as the first of its name;
-- false where it is no longer the worker's own, or is stopped.

local active, held, running, workers, new, parked = unpack(KEYS)
check(new, active, held, running)
redis.call('HLEN', parked)
local since, out, gone, able, filled = now_us(), {}, {}, {}, {}

local function pass_on(id, token, name)
  local key = ARGV[1] .. id
  local h = fields(key, 'owner', 'state', 'command', 'local')
  if not h or h[1] ~= token or h[2] ~= 'RUNNING' then return false end
  if not able[name] then able[name] = able_worker(workers, ARGV[3], name, ARGV[2], tonumber(ARGV[5])) end
  gone[#gone + 1] = id
  local state = put_back(key, h[3], h[4])
  if state ~= 'STOPPED' then redis.call('SREM', active, id) end
  if state ~= 'WAIT' then return false end
  if able[name] ~= '' then
    -- More of them are nudged for by whoever has put the first there.
    if redis.call('LPUSH', ARGV[4] .. able[name], id) == 1 then filled[#filled + 1] = able[name] end
    return able[name]
  end
  since = since + 1
  return park(parked, id, name, since) and 'new' or ''
end

for i = 7, #ARGV, 3 do out[#out + 1] = pass_on(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
let_go(held, running, gone)
for _, worker in ipairs(filled) do publish(ARGV[1] .. worker .. '-control', ARGV[6]) end
return out
