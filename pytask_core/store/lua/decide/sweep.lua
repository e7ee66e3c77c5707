-- Look at a task whose id stands in the task set: whether it runs without a renewal (written by hand, by the original, or
-- left so by a crash), waits, or has no hash.
-- asked: task_timeout, ms  patience: gives the ms for which an owner may be silent about this id; nil: to be asked for first
-- in_steps: in many slots, where a crash may have left its id there between two steps: the lease, in ms, of workers that have
-- promised none, which is for how long they may be about it
-- Returns FINE, ASK, MISSING, BACK, STOPPED, GONE, WAITS or ENDED_BEFORE, and its owner or ''.
local function decide_sweep(key, asked, patience, id, in_steps)
  local h = fields(key, 'state', 'last_update', 'local', 'owner', 'command', 'cleanup', 'kept')
  if not h or (not h[1] and redis.call('EXISTS', key) == 0) then return Outcome.MISSING, '' end
  local state, owner, now = h[1], h[4] or '', now_ms()
  if not in_steps and state ~= State.RUNNING and state ~= State.WAIT then return Outcome.FINE, owner end
  local silence = now - renewed_at(key, h[2], now, asked)
  if silence <= asked then return Outcome.FINE, owner end
  if state == State.RUNNING or not in_steps then
    local limit = owner == '' and asked or patience(owner, id)
    if not limit then return Outcome.ASK, owner end
    if silence <= limit then return Outcome.FINE, owner end
    if state == State.RUNNING then return put_back(key, h[5], h[3]), owner end
  elseif silence <= in_steps then
    return Outcome.FINE, owner
  end
  if state == State.WAIT then return Outcome.WAITS, owner end
  local is_past = in_steps and final(state) and h[6] ~= 'false' and not h[7]
  return is_past and Outcome.ENDED_BEFORE or Outcome.FINE, owner
end
