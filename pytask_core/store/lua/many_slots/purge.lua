-- Take entries out of the new queue, near its ends, that start nothing: of a task that was stopped or removed.
-- KEYS: new_queue spare early
-- ARGV: task_id
-- RESEND: yes

redis.call('ZREM', KEYS.early, ARGV.task_id)
looker(KEYS.new_queue, KEYS.spare).purge(ARGV.task_id)
return 1
