"""Where tasks stand, also those that stand nowhere."""

from __future__ import annotations

import gevent

from pytask_core.running import Running
from pytask_core.stacks import stacks


def test_a_task_whose_greenlet_has_not_begun_or_has_ended_stands_nowhere() -> None:
    waiting, ended = gevent.Greenlet(int), gevent.spawn(int)
    ended.join()
    entries = [Running(f"task-{number}", "token", "name", None) for number in range(3)]
    entries[0].greenlet, entries[1].greenlet = waiting, ended
    assert stacks({entry.id: entry for entry in entries}, None) == {(): entries}
