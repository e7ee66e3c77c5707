"""SAQ."""

from __future__ import annotations

import asyncio
from typing import Any

from saq import Queue

from tests.bench.apps.settings import CONCURRENCY, URL
from tests.bench.records import BEGIN, END, LATE, NOOP, note

queue = Queue.from_url(URL)


async def noop(_context, *, number):
    note(NOOP, number)
    return number


async def nap(_context, *, number, seconds):
    note(BEGIN, number)
    await asyncio.sleep(seconds)
    note(END, number)
    return number


async def late(_context, *, number, sent):
    note(LATE, number, sent)
    return number


settings = {"queue": queue, "functions": [noop, nap, late], "concurrency": CONCURRENCY}
FIELDS = {"noop": ("number",), "nap": ("number", "seconds"), "late": ("number", "sent")}


async def aopen() -> None:
    await queue.connect()


async def asend(kind: str, *args: Any) -> None:
    await queue.enqueue(kind, **dict(zip(FIELDS[kind], args, strict=True)))


async def aclose() -> None:
    await queue.disconnect()
