-- Take ids out of a worker's hands, and those that belong elsewhere now out of the task set; but not what has been
-- claimed again meanwhile, or is being claimed.
-- KEYS: task_set held running holders
-- ARGV: worker
-- EACH: id token leaves
--   id; its claim token, which stands for the worker's earlier ones too, '=' and the token for that one alone, or
--   '<worker>:' for all of them; '1' to leave the task set, once no other claim is noted
-- RESEND: yes
-- Returns the ids that have left the task set though nothing was noted of them: somebody may have stopped them since.

local worker, gone, leave, unnoted = ARGV.worker, {}, {}, {}

-- Whether a claim that is noted is over. Those of one worker are numbered.
local function is_over(noted, token)
  if noted == token or Mark.ALONE .. noted == token then return true end
  if not owned_by(noted, worker) or string.sub(token, 1, 1) == Mark.ALONE then return false end
  local last = string.match(token, ':(%d+)$')
  return not last or tonumber(string.match(noted, ':(%d+)$')) <= tonumber(last)
end

redis.call('SCARD', KEYS.task_set)
for i = EACH.first, #ARGV, EACH.step do
  local id, noted = ARGV[i + EACH.id], redis.call('HGET', KEYS.holders, ARGV[i + EACH.id]) or ''
  local kept, still, changed, stays, leaves = {}, false, noted == '', false, ARGV[i + EACH.leaves] == '1'
  for each in string.gmatch(noted, '%S+') do
    if each == Mark.STAYS then
      stays = true
    elseif each == Mark.LEAVES then
      leaves = true
    elseif is_over(each, ARGV[i + EACH.token]) then
      changed = true
    else
      kept[#kept + 1] = each
      still = still or owned_by(each, worker)
    end
  end
  if #kept == 0 then
    redis.call('HDEL', KEYS.holders, id)
  else
    local mark = stays and ' ' .. Mark.STAYS or (changed and leaves and ' ' .. Mark.LEAVES or '')
    redis.call('HSET', KEYS.holders, id, table.concat(kept, ' ') .. mark)
  end
  if not still then gone[#gone + 1] = id end
  if changed and not stays and #kept == 0 and leaves then
    leave[#leave + 1] = id
    if noted == '' then unnoted[#unnoted + 1] = id end
  end
end
if #leave > 0 then redis.call('SREM', KEYS.task_set, unpack(leave)) end
let_go(KEYS.held, KEYS.running, gone)
return unnoted
