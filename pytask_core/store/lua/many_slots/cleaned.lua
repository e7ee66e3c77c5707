-- Take ids off a worker's cleaning list. KEYS[1] cleaning (LIST)  ARGV: ids

for _, id in ipairs(ARGV) do redis.call('LREM', KEYS[1], 1, id) end
return #ARGV
