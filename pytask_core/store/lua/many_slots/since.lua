-- Since when an id is parked, or ''. KEYS[1] parked (HASH)  ARGV[1] id

local name = redis.call('HGET', KEYS[1], ARGV[1])
return name and redis.call('ZSCORE', parked_under(KEYS[1], name), ARGV[1]) or ''
