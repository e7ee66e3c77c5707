-- What the scripts of one slot share that put ids where the outcome of a decision says. The table is PLACES in outcomes.py;
-- PLACE.queue(outcome) and the like are conditions that the loader makes of it.

-- Note where an id goes. `to` is a table for the whole batch, empty at first: lists are made only where they are needed.
-- stands: an entry of it stands in the queue already
local function place(to, id, outcome, stands)
  if PLACE.queue(outcome) and not stands then
    if to.queue then to.queue[#to.queue + 1] = id else to.queue = {id} end
  elseif PLACE.ends(outcome) then
    if to.ends then to.ends[#to.ends + 1] = id else to.ends = {id} end
  end
  if PLACE.inactive(outcome) then
    if to.leave then to.leave[#to.leave + 1] = id else to.leave = {id} end
  elseif PLACE.active(outcome) then
    if to.stay then to.stay[#to.stay + 1] = id else to.stay = {id} end
  end
end

-- Put the ids there. push: 'LPUSH', or 'RPUSH' for the front of the queue  new, active, ended: keys
local function put(to, push, new, active, ended)
  if to.queue then redis.call(push, new, unpack(to.queue)) end
  if to.ends then redis.call('LPUSH', ended, unpack(to.ends)) end
  if to.leave then redis.call('SREM', active, unpack(to.leave)) end
  if to.stay then redis.call('SADD', active, unpack(to.stay)) end
end

-- Whether an entry stands that will start a task which is to wait. Where it is parked, it waits there no longer.
local function entry_stands(queue, parked, id, outcome)
  local known, was_parked = queue.spare(id), unpark(parked, id)
  return queue.enter(id, known + (outcome == Outcome.WAITS and not was_parked and 1 or 0))
end
