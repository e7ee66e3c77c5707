-- For how long tasks may go without a renewal.
-- KEYS: leases workers
-- ALSO: held
-- ARGV: held_prefix task_timeout unknown
--   task_timeout: ms
--   unknown: the lease, in ms, of workers that have promised none
-- EACH: id owner
-- RESEND: yes
-- Returns ms, for each.

local out, now = {}, now_ms()
for i = EACH.first, #ARGV, EACH.step do
  local worker = string.match(ARGV[i + EACH.owner], '^(.*):') or ARGV[i + EACH.owner]
  out[#out + 1] = patience(KEYS.leases, KEYS.workers, ARGV.held_prefix, worker, ARGV[i + EACH.id], now, tonumber(ARGV.task_timeout), ARGV.unknown)
end
return out
