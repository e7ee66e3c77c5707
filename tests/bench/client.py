"""``python -m tests.bench.client APP MODE KIND COUNT [SECONDS]``: enqueue by one contender's own API; prints JSON.

It runs in the environment of the contender, so it needs the standard library alone. MODE:

- ``one``: a call for each task; ``gather``: a hundred calls at once, where the API is asynchronous;
- ``many``: the API for many at once, in thousands;
- ``rate``: COUNT a second for SECONDS; a ``late`` task is told when it was sent.

SECONDS of a ``nap`` are how long it sleeps.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

#: Tasks in one call that takes many, and calls at once.
MANY, AT_ONCE = 1000, 100


def rows(kind: str, count: int, seconds: float) -> list[tuple[Any, ...]]:
    """The arguments of so many tasks."""
    return [(number, seconds) if kind == "nap" else (number,) for number in range(count)]


def beats(rate: int, seconds: float) -> Iterator[tuple[int, float]]:
    """Numbers at a steady pace, each with the time that is left until it is due."""
    began = time.monotonic() + 0.05
    for number in range(int(rate * seconds)):
        yield number, max(0.0, began + number / rate - time.monotonic())


def paced(kind: str, number: int) -> tuple[Any, ...]:
    """The arguments of a task that is sent now."""
    return (number, time.monotonic()) if kind == "late" else (number,)


def run(app: Any, mode: str, kind: str, count: int, seconds: float) -> float:
    """Send by a synchronous API; the seconds it took."""
    if mode == "rate":
        for number, pause in beats(count, seconds):
            time.sleep(pause)
            app.send(kind, *paced(kind, number))
        return seconds
    app.send("noop", -1)  # it connects, imports, and loads its scripts
    todo = rows(kind, count, seconds)
    began = time.monotonic()
    if mode == "many":
        for start in range(0, count, MANY):
            app.send_many(kind, todo[start : start + MANY])
    else:
        for row in todo:
            app.send(kind, *row)
    return time.monotonic() - began


async def arun(app: Any, mode: str, kind: str, count: int, seconds: float) -> float:
    """The same by an asynchronous API."""
    asend: Callable[..., Awaitable[None]] = app.asend
    await app.aopen()
    try:
        if mode == "rate":
            for number, pause in beats(count, seconds):
                await asyncio.sleep(pause)
                await asend(kind, *paced(kind, number))
            return seconds
        await asend("noop", -1)
        todo = rows(kind, count, seconds)
        began = time.monotonic()
        if mode == "gather":
            for start in range(0, count, AT_ONCE):
                await asyncio.gather(*(asend(kind, *row) for row in todo[start : start + AT_ONCE]))
        elif mode == "many":
            for start in range(0, count, MANY):
                await app.asend_many(kind, todo[start : start + MANY])
        else:
            for row in todo:
                await asend(kind, *row)
        return time.monotonic() - began
    finally:
        await app.aclose()


def main() -> None:
    """Send, and say how fast that went."""
    name, mode, kind, count, *more = sys.argv[1:]
    app = importlib.import_module(f"tests.bench.apps.{name}")
    words = (app, mode, kind, int(count), float(more[0]) if more else 0.0)
    took = asyncio.run(arun(*words)) if hasattr(app, "asend") else run(*words)
    print(json.dumps({"per_second": int(count) / took}))


if __name__ == "__main__":
    main()
