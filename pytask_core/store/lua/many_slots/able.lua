-- For each task name a live worker that knows it, or ''. Of one slot; used in both regimes.
-- KEYS[1] workers (ZSET)
-- ARGV[1] the worker that asks, or ''  ARGV[2] prefix of names
-- ARGV[3] task_timeout in ms: a worker that has not beaten for so long is not live  then the names

local out = {}
for i = 4, #ARGV do out[#out + 1] = able_worker(KEYS[1], ARGV[2], ARGV[i], ARGV[1], tonumber(ARGV[3])) end
return out
