-- What a worker that is gone still holds.
-- KEYS[1] workers (ZSET)  KEYS[2] held (SET)  KEYS[3] holders (HASH id -> claim tokens)  KEYS[4] leases (HASH)
-- ARGV[1] worker  ARGV[2] ms: only where it has not beaten for so long, nor for as long as it has promised to; '' for one
-- known to be gone
-- Returns false where the worker is alive, else {its last beat or '', {id, the worker's last claim token as noted, or
-- '<worker>:', …}}.

local worker = ARGV[1]
local beat = tonumber(redis.call('ZSCORE', KEYS[1], worker) or '')
if ARGV[2] ~= '' and beat and beat > now_ms() - lease_of(KEYS[4], worker, tonumber(ARGV[2]), 0) then return false end
local found = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local last = ''
  for noted in string.gmatch(redis.call('HGET', KEYS[3], id) or '', '%S+') do
    local number = owned_by(noted, worker) and string.match(noted, ':(%d+)$')
    if number and tonumber(number) > (tonumber(last) or -1) then last = number end
  end
  append(found, id, worker .. ':' .. last)
end
return {beat and string.format('%d', beat) or '', found}
