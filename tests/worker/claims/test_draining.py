"""``wait_for_young``: which tasks are waited for, and for how long."""

from __future__ import annotations

import time

import gevent

from pytask_core.worker.draining import wait_for_young
from pytask_core.worker.execution import Execution


def entry(name: str, seconds: float, *, age: float = 0.0, local: bool = False) -> Execution:
    """A task that ends in so many seconds and has run for ``age``."""
    greenlet = gevent.spawn(gevent.sleep, seconds)
    return Execution(name, "w:1", "job", "{}", local=local, greenlet=greenlet, began=time.monotonic() - age)


def test_young_tasks_are_waited_for_and_nothing_else() -> None:
    tasks = {
        "young": entry("young", 0.3),
        "old": entry("old", 1000, age=60),
        "local": entry("local", 1000, local=True),
    }
    for each in tasks.values():
        each.greenlet.link(lambda _, each=each: tasks.pop(each.id))
    began = time.monotonic()
    wait_for_young(tasks, 30)
    assert 0.3 <= time.monotonic() - began < 10
    assert sorted(tasks) == ["local", "old"]
    gevent.killall([each.greenlet for each in tasks.values()])


def test_what_comes_meanwhile_is_waited_for_too_but_no_longer_than_was_said() -> None:
    tasks: dict[str, Execution] = {"first": entry("first", 0.1)}

    def replace(_greenlet: object) -> None:
        del tasks["first"]
        tasks["second"] = entry("second", 1000)

    tasks["first"].greenlet.link(replace)
    began = time.monotonic()
    wait_for_young(tasks, 1.0)
    assert 1.0 <= time.monotonic() - began < 5
    assert list(tasks) == ["second"]
    gevent.killall([tasks["second"].greenlet])
