-- Take ids out of where they are parked, unless they were parked once more since.
-- KEYS: parked
-- ALSO: parked
-- EACH: id since
--   id, since when it was parked as that was looked at
-- RESEND: yes

for i = EACH.first, #ARGV, EACH.step do
  local name = redis.call('HGET', KEYS.parked, ARGV[i + EACH.id])
  if name and redis.call('ZSCORE', parked_under(KEYS.parked, name), ARGV[i + EACH.id]) == ARGV[i + EACH.since] then unpark(KEYS.parked, ARGV[i + EACH.id]) end
end
return 1
