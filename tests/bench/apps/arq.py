"""arq."""

from __future__ import annotations

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from tests.bench.apps.settings import CONCURRENCY, URL
from tests.bench.records import BEGIN, END, LATE, NOOP, note

PLACE = RedisSettings.from_dsn(URL)
#: For ``arq --custom-log-dict``.
QUIET = {"version": 1, "disable_existing_loggers": False, "loggers": {"arq": {"level": "WARNING"}}}
POOLS: list[Any] = []


async def noop(_context, number):
    note(NOOP, number)
    return number


async def nap(_context, number, seconds):
    note(BEGIN, number)
    await asyncio.sleep(seconds)
    note(END, number)
    return number


async def late(_context, number, sent):
    note(LATE, number, sent)
    return number


class WorkerSettings:
    functions = (noop, nap, late)
    redis_settings = PLACE
    max_jobs = CONCURRENCY


async def aopen() -> None:
    POOLS.append(await create_pool(PLACE))


async def asend(kind: str, *args: Any) -> None:
    await POOLS[0].enqueue_job(kind, *args)


async def aclose() -> None:
    await POOLS.pop().aclose()
