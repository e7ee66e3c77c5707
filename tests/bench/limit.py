"""What Redis itself allows, from one process that runs no task: the ceiling, and what plain commands reach below it.

- ``by_scripts``, the limit: the same transitions as ours, by a script to claim and a script to finish 100 ids a call;
- ``by_commands``: the same by plain commands, 100 ids a pipeline;
- ``enqueue``: hash and push, 100 tasks a pipeline.
"""

from __future__ import annotations

import time
from typing import Any

BATCH = 100
EVENT = '{"event": "success", "data": 1}'

CLAIM = """
local ids = redis.call('RPOP', KEYS[1], ARGV[1]) or {}
local found = {}
for _, id in ipairs(ids) do
  redis.call('HSET', 'task-' .. id, 'state', 'RUNNING', 'last_update', ARGV[2])
  found[#found + 1] = {id, redis.call('HMGET', 'task-' .. id, 'task', 'data', 'cleanup')}
end
if #ids > 0 then redis.call('SADD', KEYS[2], unpack(ids)) end
return found
"""

FINISH = """
for _, id in ipairs(ARGV) do
  redis.call('HSET', 'task-' .. id, 'state', 'SUCCESS', 'output', '1')
  redis.call('PUBLISH', 'task-' .. id, '{"event": "success", "data": 1}')
end
redis.call('SREM', KEYS[2], unpack(ARGV))
redis.call('LPUSH', KEYS[1], unpack(ARGV))
"""


def enqueue(client: Any, count: int) -> None:
    """Write and queue tasks."""
    for start in range(0, count, BATCH):
        pipe = client.pipeline(transaction=False)
        ids = [f"{number:032x}" for number in range(start, min(count, start + BATCH))]
        for task_id in ids:
            pipe.hset(f"task-{task_id}", mapping={"task": "noop", "data": '{"number": 1}', "state": "WAIT"})
        pipe.lpush("new-task", *ids)
        pipe.execute()


def enqueue_one(client: Any, number: int) -> None:
    """Write and queue a single task, two commands in one packet."""
    task_id = f"{number:032x}"
    pipe = client.pipeline(transaction=False)
    pipe.hset(f"task-{task_id}", mapping={"task": "noop", "data": '{"number": 1}', "state": "WAIT"})
    pipe.lpush("new-task", task_id)
    pipe.execute()


def by_scripts(client: Any) -> None:
    """Take all that waits from the new queue to the end queue."""
    claim, finish = client.register_script(CLAIM), client.register_script(FINISH)
    while found := claim(keys=["new-task", "tasks"], args=[BATCH, time.time()]):
        finish(keys=["end-task", "tasks"], args=[row[0] for row in found])


def by_commands(client: Any) -> None:
    """The same."""
    while ids := client.rpop("new-task", BATCH):
        pipe = client.pipeline(transaction=False)
        for task_id in ids:
            pipe.hset(b"task-" + task_id, mapping={"state": "RUNNING", "last_update": time.time()})
            pipe.hmget(b"task-" + task_id, "task", "data", "cleanup")
            pipe.sadd("tasks", task_id)
        pipe.execute()
        for task_id in ids:
            pipe.hset(b"task-" + task_id, mapping={"state": "SUCCESS", "output": "1"})
            pipe.srem("tasks", task_id)
            pipe.lpush("end-task", task_id)
            pipe.publish(b"task-" + task_id, EVENT)
        pipe.execute()
