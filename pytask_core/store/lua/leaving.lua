-- What the scripts share by which tasks leave their worker unfinished.

-- Let each become what put_back makes of it.
-- keys, args: of the script  done: the state that shows that this was done before  push: how what waits is queued
-- command_of: the command that counts, given the one that is recorded
-- Returns the ids that were refused: no longer the worker's own.
local function leave_worker(keys, args, done, push, command_of)
  local active, held, running, new = unpack(keys)
  local refused, gone = {}, {}
  check(new, active, held, running)
  for i = 2, #args, 2 do
    local id, token = args[i], args[i + 1]
    local key = args[1] .. id
    local h = fields(key, 'owner', 'state', 'command', 'local')
    if not h or h[1] ~= token or h[2] ~= 'RUNNING' then
      if not (h and h[1] == token and h[2] == done) then refused[#refused + 1] = id end
      if not in_hands(h, token) then gone[#gone + 1] = id end
    else
      gone[#gone + 1] = id
      local state = put_back(key, command_of(h[3]), h[4])
      if state ~= 'STOPPED' then redis.call('SREM', active, id) end
      if state == 'WAIT' then redis.call(push, new, id) end
    end
  end
  let_go(held, running, gone)
  return refused
end
