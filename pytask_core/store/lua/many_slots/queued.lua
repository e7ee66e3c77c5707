-- Start or restart a task, last step: its id stands in the queue, so its hash lasts.
-- KEYS: task
-- RESEND: yes

queued_now(KEYS.task)
return 1
