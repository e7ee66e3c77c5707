-- What the scripts that push to or take from the new queue share.

-- Whether an id without a state stands in the queue. Looks at both ends only, so that the cost is bounded however long
-- the queue; an id missed in the middle gets a second entry, which a claim passes over while the task runs.
-- The entry of a task that was removed serves the one that has its id now.
local function stands_in(queue, removed, id)
  return redis.call('SREM', removed, id) == 1 or redis.call('LPOS', queue, id, 'MAXLEN', 1000)
    or redis.call('LPOS', queue, id, 'RANK', -1, 'MAXLEN', 1000)
end

-- How many entries of an id stand in the queue, among the first and the last `most` there: bounded likewise.
local function entries_of(queue, id, most)
  local count = #redis.call('LPOS', queue, id, 'COUNT', 0, 'MAXLEN', most)
  local rest = math.min(redis.call('LLEN', queue) - most, most)
  if rest > 0 then count = count + #redis.call('LPOS', queue, id, 'RANK', -1, 'COUNT', 0, 'MAXLEN', rest) end
  return count
end

-- How many ids a worker may take so that all of them come to hold about the same: none when it holds its share
-- already, and its siblings have room. `insist`: they let it lie, so take a part of it all the same.
local function share_of(waiting, held, running, workers, insist)
  local n = math.max(workers, 1)
  local share = math.ceil((waiting + math.max(running, 0)) / n) - held
  if insist then share = math.max(share, math.ceil(waiting / n)) end
  return share
end
