-- What the scripts share that look for a worker which knows a task name.

-- A live worker that knows the name, or ''; one that begins tasks now, if there is such a one. A worker that does not has
-- '', which is the name of no task, among its names. `limit`: ms without a beat, or from now, after which a worker is not live: a beat
-- may be ahead where the server's clock was set back.
local function able_worker(workers, names_prefix, name, but, limit)
  local now, able, unable = now_ms(), {}, {}
  local live = redis.call('ZREVRANGEBYSCORE', workers, now + limit, now - limit, 'LIMIT', 0, 10000)
  for _, worker in ipairs(live) do
    if worker ~= but and redis.call('SISMEMBER', names_prefix .. worker, name) == 1 then
      local list = redis.call('SISMEMBER', names_prefix .. worker, '') == 0 and able or unable
      if #list < 10 then list[#list + 1] = worker end
      -- Enough to spread over.
      if #able == 10 then break end
    end
  end
  if #able == 0 then able = unable end
  return #able == 0 and '' or able[now % #able + 1]
end
