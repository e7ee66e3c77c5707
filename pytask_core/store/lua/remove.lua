-- Forget a task in whatever state. A worker that runs it is told, and finds its claim gone.
-- KEYS: task task_set running spare new_queue workers parked early
-- ALSO: held inboxes
-- ARGV: task_id control held_prefix inbox_prefix
-- Returns 1 where there was such a task, else 0.

redis.call('SCARD', KEYS.task_set)
redis.call('HLEN', KEYS.spare)
local id, queue = ARGV.task_id, looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.workers)
redis.call('ZREM', KEYS.early, id)
local was_parked = unpark(KEYS.parked, id)
local outcome, owner, state = decide_remove(KEYS.task, ARGV.control)
local is_known = redis.call('SREM', KEYS.task_set, id) == 1 or outcome == Outcome.GONE
-- Another program may have written another state while a worker has it in hand.
local worker = string.match(owner, '^(.*):')
if worker then let_go(ARGV.held_prefix .. worker, KEYS.running, {id}) end
if is_known then
  queue.withdraw(id, queue.spare(id) + (state == State.WAIT and not was_parked and 1 or 0))
  queue.purge(id)
end
return is_known and 1 or 0
