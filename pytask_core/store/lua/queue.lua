-- What the scripts share that push to or take from the new queue.
-- Whether an id stands there is looked up and not believed, since an operator or another program may take entries out. To
-- bound the cost, a look goes NEAR the ends of the queue only and, where it finds none there, into the inboxes. Of a queue
-- that is longer it may miss an entry; then one too many is pushed. `spare` counts the entries of an id beyond the one that
-- it waits for: an entry that finds its task not waiting, and is counted there, starts nothing.

local NEAR, MOST_INBOXES = 1000, 1000

-- How many entries of an id stand in the queue, among the first and the last `most` there.
local function entries_of(queue, id, most)
  local count = #redis.call('LPOS', queue, id, 'COUNT', 0, 'MAXLEN', most)
  local rest = math.min(redis.call('LLEN', queue) - most, most)
  if rest > 0 then count = count + #redis.call('LPOS', queue, id, 'RANK', -1, 'COUNT', 0, 'MAXLEN', rest) end
  return count
end

-- The queue as a script sees it that must know which entries stand there; made only where it must, since making functions
-- costs as much as commands do.
-- list, spare: keys  inboxes: prefix of their names  workers: key of the names of the workers (ZSET; SET: in many slots)
local function looker(list, spare, inboxes, workers, is_set)
  local q, boxes, looked = {}, nil, false

  -- The inboxes in which something stands; nil where there are too many to look.
  local function filled()
    if redis.call(is_set and 'SCARD' or 'ZCARD', workers) > MOST_INBOXES then return nil end
    local keys, found = {}, {}
    for i, name in ipairs(redis.call(is_set and 'SMEMBERS' or 'ZRANGE', workers, unpack(is_set and {} or {0, -1}))) do
      keys[i] = inboxes .. name
    end
    if #keys == 0 or redis.call('EXISTS', unpack(keys)) == 0 then return found end
    for _, key in ipairs(keys) do
      if redis.call('EXISTS', key) == 1 then found[#found + 1] = key end
    end
    return found
  end

  -- How many entries are found, and whether there can be no others. `all`: one does not suffice.
  local function find(id, all)
    local count = entries_of(list, id, NEAR)
    if count == 0 or all then
      if not looked then boxes, looked = filled(), true end
      for _, inbox in ipairs(boxes or {}) do count = count + #redis.call('LPOS', inbox, id, 'COUNT', 0) end
      if not boxes then return count, false end
    end
    return count, redis.call('LLEN', list) <= 2 * NEAR
  end

  local function set_spare(id, count)
    if count > 0 then redis.call('HSET', spare, id, count) else redis.call('HDEL', spare, id) end
  end

  -- How many entries of an id are spare.
  function q.spare(id) return tonumber(redis.call('HGET', spare, id) or 0) or 0 end

  -- Pass over an entry that is spare; return whether it is.
  function q.pass(id)
    local count = q.spare(id)
    set_spare(id, count - 1)
    return count > 0
  end

  -- For a task that is to wait: whether an entry stands that will start it. `known`: entries that ought to be there.
  function q.enter(id, known)
    local count, is_all = find(id)
    known = is_all and count or math.max(known, count)
    set_spare(id, count > 0 and known - 1 or known)
    return count > 0
  end

  -- For one that is not to start: no entry of it does. Returns how many there may be.
  function q.withdraw(id, known)
    local count, is_all = find(id, true)
    if not is_all then count = math.max(known, count) end
    set_spare(id, count)
    return count
  end

  -- Take entries that are spare out of the queue, near its ends.
  function q.purge(id)
    local left = q.spare(id)
    local function take_out(from, room)
      local found = left > 0 and room > 0 and redis.call('LPOS', list, id, 'RANK', from, 'COUNT', left, 'MAXLEN', room) or {}
      if #found > 0 then left = left - redis.call('LREM', list, from * #found, id) end
    end
    take_out(1, NEAR)
    take_out(-1, math.min(redis.call('LLEN', list) - NEAR, NEAR))
    set_spare(id, left)
  end

  -- The entry that a task waited for is taken: count again what else stands there, since that may have been a guess.
  function q.recount(id)
    local known = q.spare(id)
    if known > 0 then q.withdraw(id, known) end
  end

  -- Forget what is spare where nothing waits.
  function q.tidy()
    local all = filled()
    if all and #all == 0 then redis.call('DEL', spare) end
  end

  return q
end

-- How many ids a worker may take so that all of them come to hold about the same: none when it holds its share
-- already, and its siblings have room. `insist`: they let it lie, so take a part of it all the same.
local function share_of(waiting, held, running, workers, insist)
  local n = math.max(workers, 1)
  local share = math.ceil((waiting + math.max(running, 0)) / n) - held
  if insist then share = math.max(share, math.ceil(waiting / n)) end
  return share
end
