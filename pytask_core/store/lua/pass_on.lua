-- Take tasks from a worker that does not know their names: each goes to the inbox of a live worker that does, or is
-- parked until one registers. Both in one step with the look for one, so that none can register in between.
-- KEYS: task_set held running workers new_queue parked
-- ALSO: tasks names inboxes
-- ARGV: task_prefix worker names_prefix inbox_prefix task_timeout filled
--   task_timeout: task_timeout in ms: a worker that has not beaten for so long is not live
--   filled: what a worker is told on its control channel whose inbox was empty
-- EACH: id token name
-- Returns for each task the worker that has it now; '' where it is parked; 'new' where it is so as the first of its name;
-- false where it is no longer the worker's own, or is stopped.

check(KEYS.new_queue, KEYS.task_set, KEYS.held, KEYS.running)
redis.call('HLEN', KEYS.parked)
local since, out, gone, able, filled = now_us(), {}, {}, {}, {}

local function pass_on(id, token, name)
  local key = ARGV.task_prefix .. id
  local h = fields(key, 'owner', 'state', 'command', 'local')
  if not h or h[1] ~= token or h[2] ~= State.RUNNING then return false end
  if not able[name] then able[name] = able_worker(KEYS.workers, ARGV.names_prefix, name, ARGV.worker, tonumber(ARGV.task_timeout)) end
  gone[#gone + 1] = id
  local outcome = put_back(key, h[3], h[4])
  if outcome ~= Outcome.STOPPED then redis.call('SREM', KEYS.task_set, id) end
  if outcome ~= Outcome.BACK then return false end
  if able[name] ~= '' then
    -- More of them are nudged for by whoever has put the first there.
    if redis.call('LPUSH', ARGV.inbox_prefix .. able[name], id) == 1 then filled[#filled + 1] = able[name] end
    return able[name]
  end
  since = since + 1
  return park(KEYS.parked, id, name, since) and Parking.FIRST or Parking.MORE
end

for i = EACH.first, #ARGV, EACH.step do out[#out + 1] = pass_on(ARGV[i + EACH.id], ARGV[i + EACH.token], ARGV[i + EACH.name]) end
let_go(KEYS.held, KEYS.running, gone)
for _, worker in ipairs(filled) do publish(ARGV.task_prefix .. worker .. '-control', ARGV.filled) end
return out
