-- Take entries out of the new queue, near its ends, that start nothing: of a task that was stopped or removed.
-- KEYS[1] new queue (LIST)  KEYS[2] spare (HASH)
-- ARGV[1] id

looker(KEYS[1], KEYS[2]).purge(ARGV[1])
return 1
