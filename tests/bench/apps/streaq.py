"""streaQ."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from streaq import Worker

from tests.bench.apps.settings import CONCURRENCY, URL
from tests.bench.records import BEGIN, END, LATE, NOOP, note

logging.disable(logging.INFO)
worker = Worker(redis_url=URL, concurrency=CONCURRENCY)


@worker.task()
async def noop(number: int) -> int:
    note(NOOP, number)
    return number


@worker.task()
async def nap(number: int, seconds: float) -> int:
    note(BEGIN, number)
    await asyncio.sleep(seconds)
    note(END, number)
    return number


@worker.task()
async def late(number: int, sent: float) -> int:
    note(LATE, number, sent)
    return number


TASKS = {"noop": noop, "nap": nap, "late": late}


async def aopen() -> None:
    await worker.__aenter__()


async def asend(kind: str, *args: Any) -> None:
    await TASKS[kind].enqueue(*args)


async def asend_many(kind: str, rows: Sequence[Sequence[Any]]) -> None:
    await worker.enqueue_many([TASKS[kind].enqueue(*row) for row in rows])


async def aclose() -> None:
    await worker.__aexit__(None, None, None)
