"""What is asked of the system: a producer with a bounded rate, and a client that stops, restarts, reloads and removes.

Threads of the soak, over a wire of their own, so that their answers are lost as well. Each note stands in the ledger
before and after the call. Nothing is sent again: what got no answer stays in doubt, and the checker lives with it.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import redis

from pytask_core import PyTaskHelpers
from tests.soak.ledger import Ledger
from tests.support.servers.redis_server import client_options

#: Seconds until a producer that gets no answer gives up.
PATIENCE = 3.0

#: Parts of the short tasks that fork, and that only the second app knows.
FORKING, SECOND = 0.02, 0.1


def connect(url: str) -> PyTaskHelpers:
    """Helpers that send nothing twice."""
    client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=PATIENCE, **client_options())
    return PyTaskHelpers(client)


#: What for-ever tasks are, by their number.
_FOREVER = ("soak/forever", "soak/polite", "soak/forever", "soak/polite", "second/forever")


class Rounds:
    """A thread that calls ``_turn`` at a bounded rate until it is closed."""

    def __init__(self, name: str, url: str, ledger: Ledger, seed: int, rate: float) -> None:
        self._url = url
        self._ledger = ledger
        self._random = random.Random(seed)
        self._pause = 1 / rate
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        #: What went wrong that should not: the soak fails of it.
        self.failure: BaseException | None = None

    def connect(self) -> PyTaskHelpers:
        """Helpers of its own."""
        return connect(self._url)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Finish the turn under way, and stop."""
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join(30)

    def _run(self) -> None:
        try:
            with closing(self.connect()) as helpers, closing(helpers.redis):
                due = time.monotonic()
                while not self._done.is_set():
                    due += self._turn(helpers) * self._pause
                    # What was missed while the server was away is not made up for.
                    due = max(due, time.monotonic() - 0.5)
                    self._done.wait(max(0.0, due - time.monotonic()))
        except BaseException as error:
            self.failure = error

    def _turn(self, helpers: PyTaskHelpers) -> int:
        """Do something; how many things that were."""
        raise NotImplementedError


class Producer(Rounds):
    """Starts short tasks by all three ways there are.

    Args:
        rate: tasks a second, about.
    """

    def __init__(self, url: str, ledger: Ledger, seed: int, rate: float) -> None:
        super().__init__("producer", url, ledger, seed, rate)
        self._count = 0

    def _turn(self, helpers: PyTaskHelpers) -> int:
        draw = self._random.random()
        specs = [self._spec() for _ in range(5 if draw < 0.1 else 1)]
        if draw < 0.3 and len(specs) == 1:
            self._start(specs, lambda specs: _push(helpers, *specs[0]))
        else:
            self._start(specs, helpers.start_tasks)
        return len(specs)

    def _spec(self) -> tuple[str, dict[str, Any], str]:
        self._count += 1
        task_id, draw = f"short-{self._count}", self._random.random()
        if draw < FORKING:
            return "soak/forking", {"how": self._random.choice(("join", "terminate", "fork"))}, task_id
        fate = self._random.choices(("return", "error", "exception"), (90, 5, 5))[0]
        data = {"seconds": round(self._random.uniform(0, 0.05), 3), "fate": fate}
        return "second/short" if draw < FORKING + SECOND else "soak/short", data, task_id

    def _start(self, specs: list[tuple[str, dict[str, Any], str]], how: Callable[[Any], object]) -> None:
        for spec in specs:
            self._ledger.write("tried", id=spec[2])
        try:
            how(specs)
        except (redis.RedisError, OSError) as error:
            for spec in specs:
                self._ledger.write("doubt", id=spec[2], why=str(error)[:80])
            return
        for spec in specs:
            self._ledger.write("accepted", id=spec[2])


def _push(helpers: PyTaskHelpers, name: str, data: dict[str, Any], task_id: str) -> None:
    """As a producer in any language does."""
    helpers.redis.hset(helpers.task_key(task_id), mapping={"task": name, "data": json.dumps(data)})
    helpers.redis.lpush(helpers.keys.new_queue, task_id)


class Meddler(Rounds):
    """Keeps a number of for-ever tasks there and gives them no peace.

    Args:
        rate: commands a second.
        tasks: how many for-ever tasks.
    """

    def __init__(self, url: str, ledger: Ledger, seed: int, rate: float, tasks: int) -> None:
        super().__init__("meddler", url, ledger, seed, rate)
        self._names = self._make_names()
        #: The ids that should run, or be stopped.
        self.ids = [next(self._names) for _ in range(tasks)]
        self._versions = dict.fromkeys(self.ids, 0)

    @staticmethod
    def _make_names() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"forever-{number}"

    def begin(self) -> None:
        """Start all of them, before the faults."""
        with closing(self.connect()) as helpers, closing(helpers.redis):
            for task_id in self.ids:
                self._start_one(helpers, task_id)

    def _turn(self, helpers: PyTaskHelpers) -> int:
        task_id = self._random.choice(self.ids)
        verb = self._random.choices(("stop", "start", "restart", "reload", "remove"), (20, 30, 20, 25, 5))[0]
        if verb == "start":
            self._start_one(helpers, task_id)
        else:
            self._command(helpers, task_id, verb)
        return 1

    def _command(self, helpers: PyTaskHelpers, task_id: str, verb: str) -> None:
        version = 0
        try:
            if verb == "reload":
                version = self._versions[task_id] = self._versions[task_id] + 1
                helpers.set_task(task_id, "data", f'{{"version": {version}}}')
        except (redis.RedisError, OSError):
            return
        self._ledger.write("asked", id=task_id, verb=verb, version=version)
        try:
            answer = getattr(helpers, f"{verb}_task")(task_id)
        except (redis.RedisError, OSError):
            answer = None
        self._ledger.write("told", id=task_id, verb=verb, answer=answer)
        if verb == "remove":
            fresh = next(self._names)
            self.ids[self.ids.index(task_id)] = fresh
            self._versions[fresh] = 0
            self._start_one(helpers, fresh)
        elif verb == "restart" and answer is False:
            self._start_one(helpers, task_id)  # it went with what the server lost

    def _start_one(self, helpers: PyTaskHelpers, task_id: str) -> None:
        name = _FOREVER[int(task_id.rpartition("-")[2]) % len(_FOREVER)]
        self._ledger.write("tried", id=task_id)
        try:
            helpers.start_task(name, task_id, version=self._versions[task_id])
        except (redis.RedisError, OSError) as error:
            self._ledger.write("doubt", id=task_id, why=str(error)[:80])
            return
        self._ledger.write("accepted", id=task_id)
