-- Hand back what a dead worker held: its tasks to the front of the new queue as WAIT, its inbox and its cleaning list to
-- the queues they came from; when nothing is left, forget the worker.
-- KEYS[1] new queue (LIST)  KEYS[2] inbox (LIST)  KEYS[3] task set (SET)  KEYS[4] held (SET)  KEYS[5] running (STRING)
-- KEYS[6] workers (ZSET)  KEYS[7] end queue (LIST)  KEYS[8] cleaning (LIST)  KEYS[9] names (SET)
-- ARGV[1] task prefix  ARGV[2] worker  ARGV[3] ids at most in this call
-- ARGV[4] ms: do so only where the worker has not beaten for so long; '' for a worker known to be dead
-- Returns {how many tasks go back, how many ids are left; -1 where the worker is alive, how many went to wait}.

local new, inbox, active, held, running, workers, ended, cleaning, names = unpack(KEYS)
local prefix, worker, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
check(new, active)
redis.call('LLEN', ended)
if ARGV[4] ~= '' then
  local beat = redis.call('ZSCORE', workers, worker)
  if beat and tonumber(beat) > now_ms() - ARGV[4] then return {0, -1} end
end
local back, gone, leave = {}, {}, {}
for _, id in ipairs(redis.call('SRANDMEMBER', held, limit)) do
  local key = prefix .. id
  local h = fields(key, 'owner', 'state', 'command', 'local')
  gone[#gone + 1] = id
  if h and h[2] == 'RUNNING' and string.sub(h[1] or '', 1, #worker + 1) == worker .. ':' then
    local state = put_back(key, h[3], h[4])
    if state ~= 'STOPPED' then leave[#leave + 1] = id end
    if state == 'WAIT' then back[#back + 1] = id end
  end
end
let_go(held, running, gone)
if #leave > 0 then redis.call('SREM', active, unpack(leave)) end
extend(back, redis.call('RPOP', inbox, limit))
if #back > 0 then redis.call('RPUSH', new, unpack(back)) end
local unclean = redis.call('RPOP', cleaning, limit) or {}
if #unclean > 0 then redis.call('RPUSH', ended, unpack(unclean)) end
local left = redis.call('SCARD', held) + redis.call('LLEN', inbox) + redis.call('LLEN', cleaning)
if left == 0 then
  redis.call('ZREM', workers, worker)
  redis.call('DEL', names)
end
return {#back, left}
