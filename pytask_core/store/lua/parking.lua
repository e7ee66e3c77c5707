-- What the scripts share that deal with parked ids: those of tasks whose name no worker knows. `parked` (HASH id -> name) says
-- whether an id is parked; beside it stand a ZSET for each name (id -> since when, in microseconds), and the names.

local function parked_under(parked, name) return parked .. ':' .. name end
local function parked_names(parked) return parked .. '-names' end

local function now_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- The list under a name has become shorter: forget the name where nothing is left.
local function shorten(parked, name)
  local head = redis.call('ZRANGE', parked_under(parked, name), 0, 0, 'WITHSCORES')
  if head[1] then
    redis.call('ZADD', parked_names(parked), head[2], name)
  else
    redis.call('ZREM', parked_names(parked), name)
  end
end

-- Take an id out of where it is parked. Returns whether it was.
local function unpark(parked, id)
  local name = redis.call('HGET', parked, id)
  if not name then return false end
  redis.call('HDEL', parked, id)
  redis.call('ZREM', parked_under(parked, name), id)
  shorten(parked, name)
  return true
end

-- Park an id, behind those that are there. Returns whether it is the first under its name.
local function park(parked, id, name, since)
  local before, under = redis.call('HGET', parked, id), parked_under(parked, name)
  if before and before ~= name then unpark(parked, id) end
  local first = redis.call('EXISTS', under) == 0
  redis.call('HSET', parked, id, name)
  redis.call('ZADD', under, string.format('%.0f', since), id)
  redis.call('ZADD', parked_names(parked), 'NX', string.format('%.0f', since), name)
  return first
end

-- Take the `limit` youngest ids from under a name. Returns them, the youngest first: pushed to the front of the queue one
-- by one, the oldest is next.
local function youngest(parked, name, limit)
  local ids, found = {}, redis.call('ZPOPMAX', parked_under(parked, name), limit)
  for i = 1, #found, 2 do
    if redis.call('HGET', parked, found[i]) == name then
      redis.call('HDEL', parked, found[i])
      ids[#ids + 1] = found[i]
    end
  end
  shorten(parked, name)
  return ids
end

-- The ids that have been parked under a name for at least `ms`, the oldest first: {id, since, …}.
local function overdue(parked, name, ms, limit)
  local till = string.format('%.0f', now_us() - ms * 1000)
  return redis.call('ZRANGEBYSCORE', parked_under(parked, name), '-inf', till, 'WITHSCORES', 'LIMIT', 0, limit)
end
