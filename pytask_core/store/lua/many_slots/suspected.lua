-- Whether a worker runs this task, and one more death would convict it.
-- KEYS[1] the task (HASH)  ARGV[1] worker  ARGV[2] poison_window, ms  ARGV[3] the worker's last beat, by which its death
-- would be judged

local h = fields(KEYS[1], 'state', 'owner', 'charges', 'since')
return h and h[1] == 'RUNNING' and owned_by(h[2], ARGV[1]) and standing(h[3], h[4], tonumber(ARGV[3]), tonumber(ARGV[2])) > 0
  and 1 or 0
