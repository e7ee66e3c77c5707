-- Take ids off a worker's cleaning list.
-- KEYS: cleaning
-- EACH: id
-- RESEND: yes

for _, id in ipairs(ARGV) do redis.call('LREM', KEYS.cleaning, 1, id) end
return #ARGV
