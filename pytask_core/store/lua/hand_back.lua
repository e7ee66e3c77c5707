-- Hand back what a worker held: its tasks to the front of the new queue as WAIT, its inbox and its cleaning list to the
-- queues they came from; when nothing is left, forget the worker. Where it died, that is charged to the tasks it ran, and
-- one with too many charges ends as EXCEPTION instead.
-- KEYS[1] new queue (LIST)  KEYS[2] inbox (LIST)  KEYS[3] task set (SET)  KEYS[4] held (SET)  KEYS[5] running (STRING)
-- KEYS[6] workers (ZSET)  KEYS[7] end queue (LIST)  KEYS[8] cleaning (LIST)  KEYS[9] names (SET)
-- KEYS[10] suspect (STRING)  KEYS[11] number of the last claim (STRING)  KEYS[12] leases (HASH)
-- ARGV[1] task prefix  ARGV[2] worker  ARGV[3] ids at most in this call
-- ARGV[4] ms: do so only where the worker has not beaten for so long, nor for as long as it has promised to; '' for one known
-- to be gone
-- ARGV[5] max_deliveries, 0: charge nothing  ARGV[6] poison_window, ms  ARGV[7] output of a convicted task (JSON)
-- ARGV[8] the task by which the worker hung, where that is known: it alone is charged; else ''  ARGV[9] its output, likewise
-- Returns {how many ids wait again, how many are left; -1 where the worker is alive, {convicted id, …},
-- {id that was present at many deaths, …}, 1 where it was registered}.

local new, inbox, active, held, running, workers, ended, cleaning, names, suspect, last, leases = unpack(KEYS)
local prefix, worker, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local most, window, now = tonumber(ARGV[5]), tonumber(ARGV[6]), now_ms()
check(new, active, held, running)
for _, list in ipairs({ended, inbox, cleaning}) do redis.call('LLEN', list) end
local beat = tonumber(redis.call('ZSCORE', workers, worker) or '')
if ARGV[4] ~= '' and beat and beat > now - lease_of(leases, worker, tonumber(ARGV[4]), 0) then return {0, -1, {}, {}, 0} end
local back, gone, leave, convicted, often = {}, {}, {}, {}, {}

local function convict(key, id, cleanup, output)
  redis.call('HSET', key, 'state', 'EXCEPTION', 'output', output)
  publish(key, '{"event": "exception", "data": ' .. output .. '}')
  if cleanup == 'false' then redis.call('SADD', active, id) else redis.call('LPUSH', ended, id) end
  convicted[#convicted + 1] = id
end

-- What becomes of a task that would wait again, where its worker has died: soon after its last beat, however late that is
-- found.
local function judge(key, id, cleanup)
  if ARGV[8] ~= '' then
    if id == ARGV[8] and charge_hang(key) >= most then return convict(key, id, cleanup, ARGV[9]) end
  else
    local charges, deaths = charge(key, beat or now, window)
    if charges >= most then return convict(key, id, cleanup, ARGV[7]) end
    if deaths >= 5 then often[#often + 1] = id end
  end
  back[#back + 1] = id
end

for _, id in ipairs(redis.call('SRANDMEMBER', held, limit)) do
  local key = prefix .. id
  local h = fields(key, 'owner', 'state', 'command', 'local', 'cleanup')
  gone[#gone + 1] = id
  if h and h[2] == 'RUNNING' and owned_by(h[1], worker) then
    local state = put_back(key, h[3], h[4])
    if state ~= 'STOPPED' then redis.call('SREM', active, id) end
    if state == 'WAIT' and most > 0 and h[3] ~= 'restart' then
      judge(key, id, h[5])
    elseif state == 'WAIT' then
      back[#back + 1] = id
    end
  end
end
let_go(held, running, gone)
extend(back, redis.call('RPOP', inbox, limit))
if #back > 0 then redis.call('RPUSH', new, unpack(back)) end
local unclean = redis.call('RPOP', cleaning, limit) or {}
if #unclean > 0 then redis.call('RPUSH', ended, unpack(unclean)) end
local left = redis.call('SCARD', held) + redis.call('LLEN', inbox) + redis.call('LLEN', cleaning)
if left == 0 then
  redis.call('ZREM', workers, worker)
  redis.call('HDEL', leases, worker)
  redis.call('DEL', names, suspect, last)
end
return {#back, left, convicted, often, beat and 1 or 0}
