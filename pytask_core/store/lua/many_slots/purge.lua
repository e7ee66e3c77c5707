-- Take entries out of the new queue, near its ends, that start nothing: of a task that was stopped or removed.
-- KEYS[1] new queue (LIST)  KEYS[2] spare (HASH)  KEYS[3] early (ZSET)
-- ARGV[1] id

redis.call('ZREM', KEYS[3], ARGV[1])
looker(KEYS[1], KEYS[2]).purge(ARGV[1])
return 1
