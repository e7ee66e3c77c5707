"""Where tasks stand, also those that stand nowhere."""

from __future__ import annotations

import logging

import gevent
from gevent.lock import RLock

from pytask_core.worker.execution import Execution
from pytask_core.worker.stacks import stacks, tell


def test_a_task_whose_greenlet_has_not_begun_or_has_ended_stands_nowhere() -> None:
    waiting, ended = gevent.Greenlet(int), gevent.spawn(int)
    ended.join()
    entries = [Execution(f"task-{number}", "token", "name", None) for number in range(3)]
    entries[0].greenlet, entries[1].greenlet = waiting, ended
    assert stacks({entry.id: entry for entry in entries}, None) == {(): entries}


def test_a_task_that_waits_for_a_lock_of_logging_is_told_as_such() -> None:
    handler = logging.Handler()
    handler.lock = lock = RLock()  # type: ignore[assignment] # as gevent does
    handler.emit = lambda _record: None  # type: ignore[method-assign]
    record = logging.LogRecord("theirs", logging.INFO, __file__, 1, "a line", None, None)
    entry = Execution("a", "t:1", "mail", None)
    with lock:
        entry.greenlet = gevent.spawn(handler.handle, record)
        gevent.sleep(0)
        [(stack, entries)] = stacks({"a": entry}, None).items()
    entry.greenlet.join(5)

    assert tell(stack, entries).startswith(
        "Task 'a' (mail) stands and waits for a lock of logging, which another holds, at\n"
    )
