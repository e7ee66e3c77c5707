-- For each task name a live worker that knows it, or ''. Of one slot; used in both regimes.
-- KEYS: workers
-- ALSO: names
-- ARGV: asking names_prefix task_timeout
--   asking: the worker that asks, or ''
--   task_timeout: task_timeout in ms: a worker that has not beaten for so long is not live
-- EACH: name
-- RESEND: yes

local out = {}
for i = EACH.first, #ARGV, EACH.step do out[#out + 1] = able_worker(KEYS.workers, ARGV.names_prefix, ARGV[i + EACH.name], ARGV.asking, tonumber(ARGV.task_timeout)) end
return out
