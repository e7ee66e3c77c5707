-- Take ids out of a worker's hands, and those that belong elsewhere now out of the task set; but not what has been claimed
-- again meanwhile, or is being claimed.
-- KEYS[1] task set (SET)  KEYS[2] held by the worker (SET)  KEYS[3] running (STRING)
-- KEYS[4] holders (HASH id -> claim tokens, and '+' where somebody has stopped it meanwhile, so that it stays in the set, or
-- '-' where somebody has let go of it so that it leaves the set, and others are still noted)
-- ARGV[1] worker, then for each: id; its claim token, which stands for the worker's earlier ones too, '=' and the token for
-- that one alone, or '<worker>:' for all of them; '1' to leave the task set, once no other claim is noted
-- Returns the ids that have left the task set though nothing was noted of them: somebody may have stopped them since.

local worker, gone, leave, unnoted = ARGV[1], {}, {}, {}

-- Whether a claim that is noted is over. Those of one worker are numbered.
local function is_over(noted, token)
  if noted == token or '=' .. noted == token then return true end
  if not owned_by(noted, worker) or string.sub(token, 1, 1) == '=' then return false end
  local last = string.match(token, ':(%d+)$')
  return not last or tonumber(string.match(noted, ':(%d+)$')) <= tonumber(last)
end

redis.call('SCARD', KEYS[1])
for i = 2, #ARGV, 3 do
  local id, noted = ARGV[i], redis.call('HGET', KEYS[4], ARGV[i]) or ''
  local kept, still, changed, stays, leaves = {}, false, noted == '', false, ARGV[i + 2] == '1'
  for each in string.gmatch(noted, '%S+') do
    if each == '+' then
      stays = true
    elseif each == '-' then
      leaves = true
    elseif is_over(each, ARGV[i + 1]) then
      changed = true
    else
      kept[#kept + 1] = each
      still = still or owned_by(each, worker)
    end
  end
  if #kept == 0 then
    redis.call('HDEL', KEYS[4], id)
  else
    local mark = stays and ' +' or (changed and leaves and ' -' or '')
    redis.call('HSET', KEYS[4], id, table.concat(kept, ' ') .. mark)
  end
  if not still then gone[#gone + 1] = id end
  if changed and not stays and #kept == 0 and leaves then
    leave[#leave + 1] = id
    if noted == '' then unnoted[#unnoted + 1] = id end
  end
end
if #leave > 0 then redis.call('SREM', KEYS[1], unpack(leave)) end
let_go(KEYS[2], KEYS[3], gone)
return unnoted
