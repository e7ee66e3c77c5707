"""Celery with greenlets.

``result_backend_thread_safe``: else it makes a backend and a connection for each task, and is three times slower.
"""

from __future__ import annotations

import time
from typing import Any

from celery import Celery

from tests.bench.apps.settings import URL
from tests.bench.records import BEGIN, END, LATE, NOOP, note

app = Celery("bench", broker=URL, backend=URL)
app.conf.result_backend_thread_safe = True


@app.task
def noop(number):
    note(NOOP, number)
    return number


@app.task
def nap(number, seconds):
    note(BEGIN, number)
    time.sleep(seconds)
    note(END, number)
    return number


@app.task
def late(number, sent):
    note(LATE, number, sent)
    return number


TASKS = {"noop": noop, "nap": nap, "late": late}


def send(kind: str, *args: Any) -> None:
    TASKS[kind].delay(*args)
