-- For how long tasks may go without a renewal.
-- KEYS[1] leases (HASH)  KEYS[2] workers (ZSET)
-- ARGV[1] prefix of the sets of held ids  ARGV[2] task_timeout, ms  ARGV[3] the lease, in ms, of workers that have promised
-- none  then for each task: id, owner
-- Returns ms, for each.

local out, now = {}, now_ms()
for i = 4, #ARGV, 2 do
  local worker = string.match(ARGV[i + 1], '^(.*):') or ARGV[i + 1]
  out[#out + 1] = patience(KEYS[1], KEYS[2], ARGV[1], worker, ARGV[i], now, tonumber(ARGV[2]), ARGV[3])
end
return out
