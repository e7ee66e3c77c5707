-- Clear from a worker's inbox what a claim has dealt with. An id that was pushed again meanwhile stays, for the next one.
-- KEYS: new_queue inbox waiting spare last_take inboxes early
-- ALSO: inboxes
-- ARGV: number inbox_prefix
-- EACH: id pushes what
--   id, pushes its entry stood for or '', what: 'claimed', 'passed', 'later' back to the queue, 'early' to be looked at
--   again
-- RESEND: yes
-- Returns ids left in queue and inbox. Executed twice, or late, it does nothing.

local new, inbox, waiting, last = KEYS.new_queue, KEYS.inbox, KEYS.waiting, KEYS.last_take
local queue = looker(new, KEYS.spare, ARGV.inbox_prefix, KEYS.inboxes, true)
if redis.call('GET', last) ~= string.format('%d', ARGV.number * 2) then
  return redis.call('LLEN', new) + redis.call('LLEN', inbox)
end

for i = EACH.first, #ARGV, EACH.step do
  local id, pushes, what = ARGV[i + EACH.id], ARGV[i + EACH.pushes], ARGV[i + EACH.what]
  local stands_for = redis.call('HGET', waiting, id) or ''
  if stands_for ~= pushes then
    -- It stays: pushed again, or withdrawn.
    if stands_for ~= '' or queue.spare(id) == 0 then redis.call('HSET', waiting, id, 1) end
  else
    -- One entry, the oldest, since a later one may be another program's restart; all, where it runs now.
    redis.call('LREM', inbox, what == Dealt.CLAIMED and 0 or -1, id)
    if what == Dealt.LATER then
      redis.call('LPUSH', new, id)
      redis.call('HSET', waiting, id, 1)
    else
      if what == Dealt.EARLY then redis.call('ZADD', KEYS.early, 'NX', now_ms(), id) end
      redis.call('HDEL', waiting, id)
      -- An entry that is known is not among the spare ones.
      if what == Dealt.CLAIMED then queue.recount(id) elseif pushes == '' then queue.pass(id) end
    end
  end
end
redis.call('SET', last, string.format('%d', ARGV.number * 2 + 1))
local left = redis.call('LLEN', new) + redis.call('LLEN', inbox)
if left == 0 and redis.call('EXISTS', KEYS.spare) == 1 then queue.tidy() end
return left
