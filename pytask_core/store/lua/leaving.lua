-- What the scripts of one slot share by which tasks leave their worker, all of a batch at a time. Where their ids go is in
-- PLACES, see placing.lua.

-- Note what was decided of a task.
local function note(decided, id, outcome)
  local ids = decided[outcome]
  if ids then ids[#ids + 1] = id else decided[outcome] = {id} end
end

-- Take ids out of the worker's hands, and put them where they go. What was decided before was put there in the same moment.
-- push: 'LPUSH', or 'RPUSH' for the front of the queue; nil where the caller has queued what waits
local function part_with(decided, active, held, running, push, new, ended)
  for outcome, ids in pairs(decided) do
    if outcome ~= Outcome.OTHER_CLAIM then let_go(held, running, ids) end
    if not PLACE.before(outcome) then
      if push and PLACE.queue(outcome) then redis.call(push, new, unpack(ids)) end
      if PLACE.ends(outcome) then redis.call('LPUSH', ended, unpack(ids)) end
      if PLACE.inactive(outcome) then redis.call('SREM', active, unpack(ids)) end
    end
  end
end

-- The ids that were not the worker's own, or that others have taken from it; but where it finds what it has asked for, it
-- has done so itself before.
local function refused_of(decided, asked)
  local refused = {}
  for outcome, ids in pairs(decided) do
    if outcome ~= asked and PLACE.others(outcome) then extend(refused, ids) end
  end
  return refused
end
