"""Ours. As a worker: ``python -m gevent.monkey --module tests.bench.apps.pytask``, or by ``pytask-supervisor``."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from pytask_core import PyTask, PyTaskHelpers, Task
from tests.bench.apps.settings import CONCURRENCY, URL
from tests.bench.records import BEGIN, END, LATE, NOOP, note

#: The four names, where they are not the default.
NAMES = json.loads(os.environ.get("BENCH_NAMES", "{}"))


class Noop(Task):
    NAME = "noop"

    def __init__(self, number: int, padding: str = "") -> None:
        self.number = number

    def start(self) -> int:
        note(NOOP, self.number)
        return self.number


class Nap(Task):
    NAME = "nap"

    def __init__(self, number: int, seconds: float) -> None:
        self.number = number
        self.seconds = seconds

    def start(self) -> int:
        note(BEGIN, self.number)
        time.sleep(self.seconds)
        note(END, self.number)
        return self.number


class Late(Task):
    NAME = "late"

    def __init__(self, number: int, sent: float) -> None:
        self.number = number
        self.sent = sent

    def start(self) -> int:
        note(LATE, self.number, self.sent)
        return self.number


class Forever(Task):
    NAME = "forever"

    def start(self) -> None:
        note(BEGIN, 0)
        while True:
            time.sleep(3600)


FIELDS = {"noop": ("number", "padding"), "nap": ("number", "seconds"), "late": ("number", "sent"), "forever": ()}

app = PyTask(URL, concurrency=CONCURRENCY, **NAMES)
app.add_tasks(Noop, Nap, Late, Forever)


@cache
def helpers() -> PyTaskHelpers:
    return PyTaskHelpers(URL, **NAMES)


def send(kind: str, *args: Any) -> None:
    helpers().start_task(kind, **dict(zip(FIELDS[kind], args, strict=False)))


def send_many(kind: str, rows: Sequence[Sequence[Any]]) -> None:
    fields = FIELDS[kind]
    helpers().start_tasks((kind, dict(zip(fields, row, strict=False))) for row in rows)


if __name__ == "__main__":
    logging.getLogger("pytask").setLevel("ERROR")  # a full pool is what we want here
    app.run()
