"""``Trial``: a small stage for one fault, with a ledger from its first task on, and the ending that all share.

Leaving the context comes to rest and judges: every id that was accepted has come to an end or stands stopped, none ran
twice at a time, each history is legal, and no key, connection, subscription, process or unexpected error is left.
"""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

from pytask_core import PyTaskHelpers
from pytask_core.connection import outage
from pytask_core.keys import RedisKeys
from tests.soak import aof, ledger
from tests.soak.book import Book, Run, open_book
from tests.soak.checker import Report
from tests.soak.hosts import Host
from tests.soak.traffic import connect
from tests.soak.verdict import judge
from tests.soak.watch import Watch
from tests.soak.wire import Wire
from tests.support.processes.supervisor_process import OWN_AFFAIR
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.support.whereabouts import Whereabouts, is_cleaned_up, stands_nowhere

#: What the log may not say unless the test expects it.
_TROUBLE = re.compile(r"Traceback|\b(ERROR|CRITICAL) \[|A bug in pytask|Warning\b")

#: The task that drains the end queue when all is over.
_CLEANUP = "cleanup-of-the-trial"


class Trial:
    """Use as a context.

    Args:
        server: words for the server's command line. Unless they say otherwise each write is synced, and the whole log
            is kept, since the ending reads it.
    """

    #: What its hosts run.
    app = "tests.faults.app:app"
    #: The names of the system.
    keys = RedisKeys()

    def __init__(self, *server: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pytask-fault-"))
        self.hosts: list[Host] = []
        #: Words of log lines that would be trouble, and that this test expects.
        self.expected: list[str] = []
        self._stack = ExitStack()
        self._path = self.folder / "ledger"
        self._calls = itertools.count()
        enter = self._stack.enter_context
        self.server: Any = self._open_server(*server)
        self.ledger = enter(closing(ledger.Ledger(self._path)))
        self.watch = enter(closing(Watch(self._path)))
        self.watch.start()
        self.helpers: PyTaskHelpers = self._connect()
        self.redis: Any = self.helpers.redis
        self._stack.callback(self._hang_up)

    def _open_server(self, *words: str) -> Any:
        return self._stack.enter_context(RedisServer(appendonly=True, extra=(*aof.ARGUMENTS, *words)))

    def _connect(self) -> PyTaskHelpers:
        return connect(self.server.url)

    def _new_wire(self, _name: str) -> Any:
        return Wire(self.server.socket)

    # Before

    def host(self, workers: int = 2, *, wait: bool = True, **more: Any) -> Host:
        """One more supervisor, with a wire of its own; ``more`` as for ``Host``."""
        name = f"host-{len(self.hosts) + 1}"
        words = {"app": self.app, **more}
        host = Host(name, self.folder / name, self._new_wire(name), self._path, workers, **words)
        self._stack.callback(host.close)
        self.hosts.append(host)
        host.start()
        if wait:
            host.supervisor.wait_ready(workers)
        return host

    # Asking

    def start(self, *specs: tuple[str, dict[str, Any], str], hopeless: bool = False) -> list[str]:
        """Start tasks and note it; ``hopeless``: they must end as EXCEPTION without having run."""
        ids = [spec[2] for spec in specs]
        self.note("tried", ids)
        if hopeless:
            self.note("hopeless", ids)
        self.helpers.start_tasks(specs)
        self.note("accepted", ids)
        return ids

    def forever(self, count: int = 1, name: str = "soak/forever") -> list[str]:
        """Start tasks for ever, and wait until all of them run."""
        ids = self.start(*((name, {}, f"{name.rpartition('/')[2]}-{number}") for number in range(count)))
        self.wait_running(ids)
        return ids

    def short(self, count: int, prefix: str = "short") -> list[str]:
        """Start tasks that return at once."""
        return self.start(*(("soak/short", {}, f"{prefix}-{number}") for number in range(count)))

    def command(self, verb: str, task_id: str) -> bool | None:
        """Stop, restart, reload or remove a task, and note it; None where there was no answer."""
        call = next(self._calls)
        self.ledger.write("asked", id=task_id, verb=verb, call=call)
        try:
            answer: bool | None = getattr(self.helpers, f"{verb}_task")(task_id)
        except Exception as error:
            if outage(error) is None:
                raise
            answer = None
        self.ledger.write("told", id=task_id, verb=verb, answer=answer, call=call)
        return answer

    def note(self, kind: str, ids: Iterable[str]) -> None:
        """Write a record for each id."""
        for task_id in ids:
            self.ledger.write(kind, id=task_id)

    # Looking

    @property
    def book(self) -> Book:
        """The ledger as it is now."""
        return open_book(ledger.read(self._path))

    def runs(self, task_id: str) -> list[Run]:
        """The runs of a task, in order."""
        return self.book.of[task_id]

    def run_counts(self, ids: Iterable[str]) -> Counter[int]:
        """How many of them have run how often."""
        of = self.book.of
        return Counter(len(of[each]) for each in ids)

    def state(self, task_id: str) -> str | None:
        """What stands in the hash."""
        value: str | None = self.redis.hget(self.keys.task(task_id), "state")
        return value

    def output(self, task_id: str) -> str:
        """The same."""
        return str(self.redis.hget(self.keys.task(task_id), "output"))

    def wait_running(self, ids: Iterable[str], timeout: float = 20) -> None:
        """Wait until a copy of each runs in a live process."""
        wanted = set(ids)
        wait_until(lambda: wanted <= self.watch.running(), timeout, "all of them running")

    def wait_state(self, ids: Iterable[str], *states: str | None, timeout: float = 20) -> None:
        """Wait until each of them is in one of these states."""
        wanted = list(ids)
        wait_until(
            lambda: all(self.state(each) in states for each in wanted),
            timeout,
            f"{wanted} to become {states}",
        )

    def said(self, words: str) -> int:
        """How often the logs of all hosts say this."""
        return sum(host.log.read_text(errors="replace").count(words) for host in self.hosts)

    # The ending

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        passed = False
        try:
            if kind is None:
                self._come_to_rest()
                self._judge()
            passed = kind is None
        finally:
            if not passed:
                print(f"ledger and logs: {self.folder}")
                for host in self.hosts:
                    print(f"--- {host.name}\n{host.log.read_text(errors='replace')[-8_000:]}")
            self._stack.close()
            if passed:
                shutil.rmtree(self.folder)

    def _come_to_rest(self) -> None:
        for host in self.hosts:
            host.wire.heal()
        wait_until(lambda: not self.helpers.queue_lengths()["new"], 20, "the queue empty")
        if any(host.is_up for host in self.hosts):
            wait_until(lambda: not Whereabouts(self.redis, self.keys).early, 5, "ids without a hash dropped")
        wait_until(self._all_stopped, 20, "everything stopped or ended", interval=0.05)
        self.helpers.start_task("pytask/cleanup", _CLEANUP)
        # What stands in a cleaning list goes back to the end queue when its Cleanup is stopped.
        wait_until(lambda: is_cleaned_up(self.redis, self.keys), 20, "nothing left to clean up")
        assert self.helpers.stop_task(_CLEANUP, wait=10)
        self.command("remove", _CLEANUP)
        # Where nothing had ended it may have been removed before a worker claimed it, which then drops its entry.
        wait_until(lambda: stands_nowhere(self.redis, _CLEANUP, self.keys), 20, f"no entry of {_CLEANUP}")
        for host in self.hosts:
            if host.is_up:
                assert host.stop() == 0, host.log.read_text(errors="replace")
            assert host.leave_nothing() == []
        self._hang_up()
        self.watch.close()

    def _all_stopped(self) -> bool:
        ids = self.helpers.get_active_task_ids()
        rows = zip(ids, self.helpers.get_tasks(ids, ["state", "local"]), strict=True)
        going = [task_id for task_id, row in rows if row and row[0] == "RUNNING" and row[1] != "true"]
        for task_id in going:
            self.command("stop", task_id)
        return not going and not self.helpers.queue_lengths()["new"]

    def _judge(self) -> None:
        report = self._verdict()
        report.blame("what the logs should not say", self._trouble())
        self.report: Report = report
        assert report.ok, f"{report.text()}\nledger and logs: {self.folder}"

    def _verdict(self) -> Report:
        return judge(ledger.read(self._path), self.server)

    def _trouble(self) -> list[str]:
        return [
            f"{host.name}: {line}"
            for host in self.hosts
            for line in host.log.read_text(errors="replace").splitlines()
            if _TROUBLE.search(line) and not any(words in line for words in (*self.expected, OWN_AFFAIR))
        ]

    def _hang_up(self) -> None:
        self.server.close_clients()
        self.helpers.close()
        self.redis.close()
        self.redis.connection_pool.disconnect()


def seconds_until(what: Any, timeout: float = 20, message: str = "") -> float:
    """Wait until it is true, closely; how long that took."""
    began = time.monotonic()
    wait_until(what, timeout, message, interval=0.005)
    return time.monotonic() - began
