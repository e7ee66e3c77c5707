-- Publish events of tasks that are still the worker's own, and not ended: nothing comes after the final event.
-- KEYS[1] task set (SET; names the slot)
-- ARGV[1] task prefix, then for each event: id, token, payload (JSON)
-- Returns how many were refused.

local prefix, refused = ARGV[1], 0
for i = 2, #ARGV, 3 do
  local key = prefix .. ARGV[i]
  local h = fields(key, 'owner', 'state')
  if h and h[1] == ARGV[i + 1] and h[2] == 'RUNNING' then
    publish(key, ARGV[i + 2])
  else
    refused = refused + 1
  end
end
return refused
