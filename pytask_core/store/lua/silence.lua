-- How long ago workers were last heard of.
-- KEYS: workers
-- EACH: worker
-- Returns for each the ms, or false where it is not registered.

local now, out = now_ms(), {}
for i, worker in ipairs(ARGV) do
  local beat = redis.call('ZSCORE', KEYS.workers, worker)
  out[i] = beat and math.max(0, now - beat)
end
return out
