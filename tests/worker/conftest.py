"""``live``: workers in greenlets of the test's process, on the test's server."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any, Protocol

import gevent
import pytest
from gevent import monkey
from gevent.event import Event

from pytask_core import PyTask, PyTaskHelpers, Task
from pytask_core.connection import RedisSource, disconnect
from pytask_core.connection.nodes import is_cluster
from pytask_core.keys import RedisKeys
from pytask_core.store import Regime, regime
from pytask_core.worker.worker import Worker
from tests.support.listener import Listener
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.support.whereabouts import Whereabouts


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say in one sentence how these tests are run, instead of hanging in the first of them."""
    here = [item for item in items if "tests/worker/" in item.nodeid]
    if here and not monkey.is_module_patched("socket"):
        raise pytest.UsageError(
            "tests/worker need gevent to have patched the standard library: run them as "
            "'python -m gevent.monkey --module pytest tests/worker'"
        )


class Live:
    """Apps and their workers, all ended with the test. Short words to look at what they do."""

    def __init__(self, server: RedisServer, names: dict[str, str]) -> None:
        self.server = server
        self.redis: Any = server.client(decode_responses=True)
        self.names = names
        self.keys = RedisKeys(**names)
        self.helpers = PyTaskHelpers(server.url, **names)
        self.apps: list[PyTask] = []
        self._clients: list[Any] = []
        self.greenlets: dict[Worker, gevent.Greenlet] = {}
        #: Whether the test makes the core log errors on purpose.
        self.errors_expected = False

    def app(self, *classes: type[Task], **options: Any) -> PyTask:
        """An app with these classes."""
        app = PyTask(self.server.url, **self.names, **options)
        app.add_tasks(*classes)
        self.apps.append(app)
        return app

    def begin(self, app: PyTask, graceful_timeout: float = 5) -> Worker:
        """A worker of the app that claims tasks."""
        worker = app.create_worker(graceful_timeout)
        ready = Event()
        greenlet = gevent.spawn(worker.run, ready.set)
        self.greenlets[worker] = greenlet
        gevent.wait([ready, greenlet], timeout=10, count=1)
        assert ready.is_set(), f"the worker ended at its start: {greenlet.exception!r}"
        return worker

    def worker(self, *classes: type[Task], **options: Any) -> Worker:
        """A worker with these classes that claims tasks."""
        return self.begin(self.app(*classes, **options))

    def end(self, worker: Worker) -> None:
        """Stop a worker, wait for its end, and see that it ended well."""
        worker.stop()
        greenlet = self.greenlets[worker]
        assert greenlet.join(15) is None
        assert greenlet.ready(), "the worker does not stop"
        del self.greenlets[worker]
        greenlet.get(block=False)

    def state(self, task_id: str) -> str | None:
        value: str | None = self.redis.hget(self.keys.task(task_id), "state")
        return value

    def output(self, task_id: str) -> str:
        return str(self.redis.hget(self.keys.task(task_id), "output"))

    def until(self, task_id: str, *states: str, timeout: float = 10) -> str:
        """Wait until a task is in one of the states, and return which."""
        wait_until(lambda: self.state(task_id) in states, timeout, f"{task_id} to become {states}")
        return str(self.state(task_id))

    def run(self, name: str, **data: Any) -> str:
        """Start a task and wait for its end; its id."""
        task_id = self.helpers.start_task(name, **data)
        self.until(task_id, "SUCCESS", "ERROR", "EXCEPTION", "STOPPED")
        return task_id

    def push(self, task_id: str, name: str, data: str | bytes = "{}") -> None:
        """HSET and LPUSH, as a producer in any language does."""
        self.redis.execute_command("HSET", self.keys.task(task_id), "task", name, "data", data)
        self.redis.lpush(self.keys.new_queue, task_id)

    def takes(self) -> list[str]:
        """The connections on which a worker waits for something to claim."""
        clients = self.server.other_clients()
        return [one["name"] for one in clients if one["name"].startswith("pytask-take-") and "b" in one["flags"]]

    def go_quiet(self, worker: Worker) -> None:
        """Return once an idle worker is: a take under way, or on its way, may still bring it a task."""
        take = f"pytask-take-{worker.id}"
        wait_until(lambda: take in self.takes())
        worker.quiet(True)
        wait_until(lambda: take not in self.takes())

    def listen(self, *ids: str) -> Listener:
        return Listener(self.server, self.keys, *ids)

    def store_client(self) -> Any:
        """A client as the product makes it, closed with the test."""
        self._clients.append(RedisSource(self.server.url).store_client(2))
        return self._clients[-1]

    @property
    def stores(self) -> Regime:
        """The classes for where the keys lie."""
        return regime(one_slot=self.atomic)

    @property
    def atomic(self) -> bool:
        """Whether each transition is one script, which happens as a whole or not at all."""
        return self.keys.one_slot or not is_cluster(self.redis)

    @property
    def where(self) -> Whereabouts:
        return Whereabouts(self.redis, self.keys)

    def close(self) -> None:
        """End whatever the test has left."""
        for worker in self.greenlets:
            worker.stop()
            worker.stop()
        gevent.joinall(list(self.greenlets.values()), timeout=15)
        left = [greenlet for greenlet in self.greenlets.values() if not greenlet.ready()]
        gevent.killall(left)
        for app in self.apps:
            app.helpers.close()
            disconnect(app.redis)
        self.helpers.close()
        disconnect(*self._clients)
        assert not left, "a worker did not stop"


class Make(Protocol):
    """Makes a ``Live`` for a server, with the names of the set-up or others."""

    def __call__(self, server: Any, other_names: dict[str, str] | None = None) -> Live: ...


@pytest.fixture
def make_live(caplog: pytest.LogCaptureFixture, names: dict[str, str]) -> Iterator[Make]:
    """Makes ``live`` for a server; sees at the end that nothing went wrong unseen."""
    caplog.set_level(logging.DEBUG, "pytask")
    hub = gevent.get_hub()
    # What a greenlet dies of is only printed; here it is to be seen.
    hub.exception_stream = printed = io.StringIO()
    made: list[Live] = []

    def make(server: Any, other_names: dict[str, str] | None = None) -> Live:
        made.append(Live(server, names if other_names is None else other_names))
        return made[-1]

    yield make
    try:
        for live in made:
            live.close()
    finally:
        hub.exception_stream = None
    # How a task ends is its own affair.
    said = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    errors = [message for message in said if " ended as EXCEPTION" not in message]
    assert not errors or any(live.errors_expected for live in made)
    assert not printed.getvalue() or any(live.errors_expected for live in made), printed.getvalue()


@pytest.fixture
def live(redis_server: RedisServer, make_live: Make) -> Live:
    """Workers on the shared server."""
    return make_live(redis_server)


@pytest.fixture
def own_live(own_server: RedisServer, make_live: Make) -> Live:
    """Workers on a server that the test may pause, kill and restart."""
    return make_live(own_server)
