-- What the scripts share that tell a task which kills its worker from those that only were there.
-- Fields of the hash: `charges`, deaths that still count against it; `since`, ms at which it began its run after the last
-- of them; `deaths`, all of them; `hangs`, how often its worker was killed since this task blocked the loop.

-- How many charges still count for a run that lasted until then: none any more after `window` ms.
local function standing(charges, since, till, window)
  since = tonumber(since or '')
  if since and till - since >= window then return 0 end
  return tonumber(charges or 0) or 0
end

-- Charge the death of a worker that was last known to live at `alive`. Returns how many charges count now, and at how many
-- deaths the task was present in all.
local function charge(key, alive, window)
  local h = redis.call('HMGET', key, 'charges', 'since', 'deaths')
  local charges = standing(h[1], h[2], alive, window) + 1
  -- What another program wrote into these fields must not end the script half way.
  local deaths = (tonumber(h[3] or 0) or 0) + 1
  redis.call('HSET', key, 'charges', charges, 'deaths', deaths)
  redis.call('HDEL', key, 'since')
  return charges, deaths
end

-- Charge a task by which its worker hung: no window forgives that. Returns how often it did.
local function charge_hang(key)
  local hangs = (tonumber(redis.call('HGET', key, 'hangs') or 0) or 0) + 1
  redis.call('HSET', key, 'hangs', hangs)
  return hangs
end

-- Whether the worker runs a task that one more death would convict.
local function has_suspect(suspect, prefix, worker, now, window)
  local id = redis.call('GET', suspect)
  if not id then return false end
  local h = fields(prefix .. id, 'state', 'owner', 'charges', 'since')
  return h and h[1] == State.RUNNING and owned_by(h[2], worker) and standing(h[3], h[4], now, window) > 0
end
