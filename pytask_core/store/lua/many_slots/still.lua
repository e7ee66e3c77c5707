-- Which ids are noted as in a worker's hands.
-- KEYS: held
-- EACH: id
-- RESEND: yes
-- Returns for each 1 or 0.

return redis.call('SMISMEMBER', KEYS.held, unpack(ARGV))
