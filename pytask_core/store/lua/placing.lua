-- What the scripts of one slot share that put ids where the outcome of a decision says. The table is PLACES in outcomes.py;
-- PLACE.queue(outcome) and the like are conditions that the loader makes of it.

-- Where the ids of a batch go, as far as it is known.
local function places()
  return {queue = {}, ends = {}, stay = {}, leave = {}}
end

local function place(to, id, outcome)
  if PLACE.queue(outcome) then to.queue[#to.queue + 1] = id end
  if PLACE.ends(outcome) then to.ends[#to.ends + 1] = id end
  if PLACE.inactive(outcome) then
    to.leave[#to.leave + 1] = id
  elseif PLACE.active(outcome) then
    to.stay[#to.stay + 1] = id
  end
end

-- Put them there. push: 'LPUSH', or 'RPUSH' for the front of the queue  new, active, ended: keys
local function put(to, push, new, active, ended)
  if #to.queue > 0 then redis.call(push, new, unpack(to.queue)) end
  if #to.ends > 0 then redis.call('LPUSH', ended, unpack(to.ends)) end
  if #to.leave > 0 then redis.call('SREM', active, unpack(to.leave)) end
  if #to.stay > 0 then redis.call('SADD', active, unpack(to.stay)) end
end
