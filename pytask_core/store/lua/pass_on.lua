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
local since, out, decided, able, filled = now_us(), {}, {}, {}, {}

-- Put one that waits where it belongs; return what is answered of it.
local function pass_on(id, name)
  if not able[name] then able[name] = able_worker(KEYS.workers, ARGV.names_prefix, name, ARGV.worker, tonumber(ARGV.task_timeout)) end
  if able[name] ~= '' then
    -- More of them are nudged for by whoever has put the first there.
    if redis.call('LPUSH', ARGV.inbox_prefix .. able[name], id) == 1 then filled[#filled + 1] = able[name] end
    return able[name]
  end
  since = since + 1
  return park(KEYS.parked, id, name, since) and Parking.FIRST or Parking.MORE
end

for i = EACH.first, #ARGV, EACH.step do
  local id = ARGV[i + EACH.id]
  local outcome = decide_leave(ARGV.task_prefix .. id, ARGV[i + EACH.token], Reason.REQUEUE)
  note(decided, id, outcome)
  out[#out + 1] = outcome == Outcome.BACK and pass_on(id, ARGV[i + EACH.name])
end
part_with(decided, KEYS.task_set, KEYS.held, KEYS.running)
for _, worker in ipairs(filled) do publish(ARGV.task_prefix .. worker .. '-control', ARGV.filled) end
return out
