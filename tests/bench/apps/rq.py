"""RQ with its worker that does not fork, which is the faster one. One task at a time is all that it can do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from redis import Redis
from rq import Queue

from tests.bench.apps.settings import URL
from tests.bench.records import BEGIN, END, LATE, NOOP, note


def noop(number):
    note(NOOP, number)
    return number


def nap(number, seconds):
    note(BEGIN, number)
    time.sleep(seconds)
    note(END, number)
    return number


def late(number, sent):
    note(LATE, number, sent)
    return number


TASKS = {"noop": noop, "nap": nap, "late": late}


@cache
def queue() -> Queue:
    return Queue("default", connection=Redis.from_url(URL))


def send(kind: str, *args: Any) -> None:
    queue().enqueue(TASKS[kind], *args)


def send_many(kind: str, rows: Sequence[Sequence[Any]]) -> None:
    queue().enqueue_many([Queue.prepare_data(TASKS[kind], row) for row in rows])
