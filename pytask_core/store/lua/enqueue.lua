-- Start tasks: write each hash and put its id into the new queue. One that waits takes the new data and keeps its place;
-- one that runs is left alone.
-- KEYS: new_queue task_set spare workers parked
-- ALSO: tasks inboxes
-- ARGV: task_prefix inbox_prefix
-- EACH: id name data cleanup
--   id, name, data, cleanup ('' or 'false')
-- Returns for each task 1, or 0 where its key holds no hash.

local done, pushed, to, now = {}, {}, {}, stamp(now_ms())
check(KEYS.new_queue, KEYS.task_set)
-- Both are rare, so one look tells that neither is there.
local is_plain = redis.call('EXISTS', KEYS.spare, KEYS.parked) == 0
if not is_plain then redis.call('HLEN', KEYS.parked) end
local has_spare, queue = not is_plain and redis.call('HLEN', KEYS.spare) > 0, nil

for i = EACH.first, #ARGV, EACH.step do
  local id = ARGV[i + EACH.id]
  local key = ARGV.task_prefix .. id
  local outcome = decide_start(key, ARGV[i + EACH.name], ARGV[i + EACH.data], ARGV[i + EACH.cleanup], now)
  done[#done + 1] = outcome == Outcome.WRONG_TYPE and 0 or 1
  local stands = pushed[id]
  if PLACE.queue(outcome) and not stands and (has_spare or PLACE.look(outcome)) then
    queue = queue or looker(KEYS.new_queue, KEYS.spare, ARGV.inbox_prefix, KEYS.workers)
    stands = (PLACE.look(outcome) or queue.spare(id) > 0) and entry_stands(queue, KEYS.parked, id, outcome)
    if outcome == Outcome.WAITS and not stands then redis.call('HSET', key, 'last_update', now) end
  end
  place(to, id, outcome, stands)
  if PLACE.queue(outcome) then pushed[id] = true end
end
put(to, 'LPUSH', KEYS.new_queue, KEYS.task_set)
return done
