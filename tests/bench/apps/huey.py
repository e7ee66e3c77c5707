"""Huey with greenlets, patched by gevent ahead of it: its consumer by itself only warns, and runs them one by one."""

from __future__ import annotations

import time
from typing import Any

from huey import RedisHuey

from tests.bench.apps.settings import CONNECTIONS, URL
from tests.bench.records import BEGIN, END, LATE, NOOP, note

huey = RedisHuey("bench", url=f"{URL}?max_connections={CONNECTIONS}")


@huey.task()
def noop(number):
    note(NOOP, number)
    return number


@huey.task()
def nap(number, seconds):
    note(BEGIN, number)
    time.sleep(seconds)
    note(END, number)
    return number


@huey.task()
def late(number, sent):
    note(LATE, number, sent)
    return number


TASKS = {"noop": noop, "nap": nap, "late": late}


def send(kind: str, *args: Any) -> None:
    TASKS[kind](*args)
