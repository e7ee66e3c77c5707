-- Register a local task: it is born RUNNING in its worker's hands.
-- KEYS: task
-- ARGV: token name data
-- RESEND: yes

return decide_adopt(KEYS.task, ARGV.token, ARGV.name, ARGV.data)
