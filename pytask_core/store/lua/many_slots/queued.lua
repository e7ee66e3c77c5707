-- Start or restart a task, last step: its id stands in the queue, so its hash lasts.
-- KEYS[1] the task (HASH)

queued_now(KEYS[1])
return 1
