-- What the scripts share by which Monitors and workers agree on leases. A Monitor asks; a worker keeps to what is asked for,
-- and only then promises it; a Monitor judges each worker by its promise.

-- A number of milliseconds; nil for what is none, or more than a double counts.
local function milliseconds(text)
  return string.match(text or '', '^%d+$') and #text <= 15 and tonumber(text) or nil
end

-- The lease that the Monitors ask for, in ms; nil where none has done so lately.
local function asked_lease(monitor, now)
  local h = fields(monitor, 'lease', 'lease_until')
  local till = h and milliseconds(h[2])
  if till and till > now then return milliseconds(h[1]) end
end

-- Note what a worker promises. Promises are numbered, so that one which is executed late undoes no later one.
local function note_lease(leases, worker, number, ms)
  local noted = string.match(redis.call('HGET', leases, worker) or '', '^(%d+) ')
  if not noted or tonumber(noted) <= tonumber(number) then redis.call('HSET', leases, worker, number .. ' ' .. ms) end
end

-- The silence, in ms, after which a worker counts as gone: `asked`, but never less than it has promised to stay below.
-- `unknown`: what counts as the promise of one that has made none.
local function lease_of(leases, worker, asked, unknown)
  local promise = string.match(redis.call('HGET', leases, worker) or '', '^%d+ (.*)$')
  return math.max(asked, milliseconds(promise) or tonumber(unknown))
end

-- The silence of a task, in ms, after which its worker has left it alone. A worker that lives and has the task in its hands has
-- three leases: its beats go on where a slow connection holds up the renewals of tasks.
local function patience(leases, workers, held, worker, id, now, asked, unknown)
  local lease = lease_of(leases, worker, asked, unknown)
  local beat = tonumber(redis.call('ZSCORE', workers, worker) or '')
  local lives = beat and now - beat <= lease and redis.call('SISMEMBER', held .. worker, id) == 1
  return lives and 3 * lease or lease
end
