-- Whether a worker runs this task, and one more death would convict it.
-- KEYS: task
-- ARGV: worker poison_window beat
--   poison_window: ms
--   beat: the worker's last beat, by which its death would be judged
-- RESEND: yes

local h = fields(KEYS.task, 'state', 'owner', 'charges', 'since')
return h and h[1] == State.RUNNING and owned_by(h[2], ARGV.worker) and standing(h[3], h[4], tonumber(ARGV.beat), tonumber(ARGV.poison_window)) > 0
  and 1 or 0
