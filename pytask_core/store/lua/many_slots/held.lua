-- What a worker that is gone still holds.
-- KEYS: workers held holders leases
-- ARGV: worker overdue_by
--   overdue_by: ms: only where it has not beaten for so long, nor for as long as it has promised to; '' for one known to
--   be gone
-- RESEND: yes
-- Returns false where the worker is alive, else {its last beat or '', {id, the worker's last claim token as noted, or
-- '<worker>:', …}}.

local worker = ARGV.worker
local beat = tonumber(redis.call('ZSCORE', KEYS.workers, worker) or '')
if ARGV.overdue_by ~= '' and beat and beat > now_ms() - lease_of(KEYS.leases, worker, tonumber(ARGV.overdue_by), 0) then return false end
local found = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS.held)) do
  local last = ''
  for noted in string.gmatch(redis.call('HGET', KEYS.holders, id) or '', '%S+') do
    local number = owned_by(noted, worker) and string.match(noted, ':(%d+)$')
    if number and tonumber(number) > (tonumber(last) or -1) then last = number end
  end
  append(found, id, worker .. ':' .. last)
end
return {beat and string.format('%d', beat) or '', found}
