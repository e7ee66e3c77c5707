-- Take a task from a worker that is gone, first step. Where the worker died, that is charged to the task, and one with
-- too many charges ends as EXCEPTION instead.
-- KEYS: task
-- ARGV: worker max_deliveries poison_window verdict beat hung
--   max_deliveries: 0: charge nothing
--   poison_window: ms
--   verdict: output of a convicted task (JSON)
--   beat: last beat of the worker, '' where it is unknown
--   hung: '1': the worker hung by this task; '0': by another, so that this one is not charged; '': that is not known
-- RESEND: yes
-- Returns {an Outcome, 1 where it is convicted, 1 where it was present at many deaths}.

local outcome, is_convicted, is_often = decide_release(KEYS.task, ARGV.worker, tonumber(ARGV.max_deliveries),
  tonumber(ARGV.poison_window), ARGV.verdict, tonumber(ARGV.beat) or now_ms(), ARGV.hung)
return {outcome, is_convicted and 1 or 0, is_often and 1 or 0}
