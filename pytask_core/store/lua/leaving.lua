-- What the scripts share by which tasks leave their worker unfinished.

-- Let each become what put_back makes of it.
-- args: of the script, from `first` on pairs of id and token  done: the state that shows that this was done before  push: how what waits is queued
-- command_of: the command that counts, given the one that is recorded
-- Returns the ids that were refused: no longer the worker's own.
local function leave_worker(prefix, active, held, running, new, args, first, done, push, command_of)
  local refused, gone = {}, {}
  check(new, active, held, running)
  for i = first, #args, 2 do
    local id, token = args[i], args[i + 1]
    local key = prefix .. id
    local h = fields(key, 'owner', 'state', 'command', 'local')
    if not h or h[1] ~= token or h[2] ~= State.RUNNING then
      if not (h and h[1] == token and h[2] == done) then refused[#refused + 1] = id end
      if not in_hands(h, token) then gone[#gone + 1] = id end
    else
      gone[#gone + 1] = id
      local outcome = put_back(key, command_of(h[3]), h[4])
      if outcome ~= Outcome.STOPPED then redis.call('SREM', active, id) end
      if outcome == Outcome.BACK then redis.call(push, new, id) end
    end
  end
  let_go(held, running, gone)
  return refused
end
