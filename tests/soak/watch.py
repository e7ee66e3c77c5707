"""``Watch``: follows the ledger while it grows: how many tasks end, which runs are under way, which processes died.

A thread of the soak. It writes the deaths into the ledger, at the moment the kernel tells them.
"""

from __future__ import annotations

import os
import select
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.soak.ledger import Ledger, Record, Tail

#: Seconds between two looks into the ledger. Deaths are noticed at once.
INTERVAL = 0.02

#: Seconds over which throughput is measured.
SPAN = 1.0

#: Seconds: how finely throughput is looked at.
GRAIN = 0.1


class Watch:
    """Counts; ``start`` and ``close`` it."""

    def __init__(self, path: Path) -> None:
        self._ledger = Ledger(path)
        self._tail = Tail(path)
        self._poll = select.poll()
        self._pids: dict[int, int] = {}  # pidfd -> pid
        self._open: dict[str, tuple[str, int]] = {}  # run -> id, pid
        self._running: Counter[str] = Counter()
        self._ends: list[float] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)

    def start(self) -> None:
        """Follow."""
        self._thread.start()

    def close(self) -> None:
        """Look a last time, and stop; again: nothing."""
        self._done.set()
        self._thread.join(5)
        while self._pids:
            os.close(self._pids.popitem()[0])
        self._tail.close()
        self._ledger.close()

    def rate(self, now: float) -> float:
        """Ends a second, over the span before that time."""
        with self._lock:
            return (bisect_right(self._ends, now) - bisect_left(self._ends, now - SPAN)) / SPAN

    def last_below(self, rate: float, begin: float, now: float) -> float | None:
        """The last time since ``begin`` at which fewer tasks ended a second; None: there was none."""
        for step in range(int((now - begin) / GRAIN) + 1):
            if self.rate(now - step * GRAIN) < rate:
                return now - step * GRAIN
        return None

    def running(self) -> set[str]:
        """The ids of which a run is under way in a process that lives."""
        with self._lock:
            return {task_id for task_id, count in self._running.items() if count > 0}

    def holders(self, prefix: str) -> set[int]:
        """The processes in which a task runs whose id begins so."""
        with self._lock:
            return {pid for task_id, pid in self._open.values() if task_id.startswith(prefix)}

    def _follow(self) -> None:
        while True:
            last = self._done.is_set()
            for record in self._tail.read():
                self._take(record)
            if last:
                return
            for fd, _event in self._poll.poll(INTERVAL * 1000):
                self._bury(fd)

    def _take(self, record: Record) -> None:
        kind = record["kind"]
        if kind == "born":
            self._attend(record["pid"])
        elif kind == "begin":
            with self._lock:
                self._open[record["run"]] = (record["id"], record["pid"])
                self._running[record["id"]] += 1
        elif kind == "end":
            with self._lock:
                self._ends.append(record["t"])
                self._over(record["run"])

    def _over(self, run: str) -> None:
        task_id, _pid = self._open.pop(run, ("", 0))
        self._running[task_id] -= 1
        if self._running[task_id] <= 0:
            del self._running[task_id]

    def _attend(self, pid: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ledger.write("dead", pid=pid)
            return
        self._pids[fd] = pid
        self._poll.register(fd, select.POLLIN)

    def _bury(self, fd: int) -> None:
        pid = self._pids.pop(fd)
        self._poll.unregister(fd)
        os.close(fd)
        self._ledger.write("dead", pid=pid)
        # What it wrote before it died stands in the ledger already.
        for record in self._tail.read():
            self._take(record)
        with self._lock:
            for run in [run for run, (_, each) in self._open.items() if each == pid]:
                with suppress(KeyError):
                    self._over(run)
