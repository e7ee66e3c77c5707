"""Taskiq on streams, its broker that confirms what it has done; the results in Redis."""

from __future__ import annotations

import asyncio
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from tests.bench.apps.settings import URL
from tests.bench.records import BEGIN, END, LATE, NOOP, note

# consumer_id: tasks are enqueued before the first worker makes the group.
results = RedisAsyncResultBackend(redis_url=URL, result_ex_time=1000)
broker = RedisStreamBroker(url=URL, consumer_id="0").with_result_backend(results)


@broker.task
async def noop(number: int) -> int:
    note(NOOP, number)
    return number


@broker.task
async def nap(number: int, seconds: float) -> int:
    note(BEGIN, number)
    await asyncio.sleep(seconds)
    note(END, number)
    return number


@broker.task
async def late(number: int, sent: float) -> int:
    note(LATE, number, sent)
    return number


TASKS = {"noop": noop, "nap": nap, "late": late}


async def aopen() -> None:
    await broker.startup()


async def asend(kind: str, *args: Any) -> None:
    await TASKS[kind].kiq(*args)


async def aclose() -> None:
    await broker.shutdown()
