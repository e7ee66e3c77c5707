"""Where contenders are measured: a server, their worker processes, their clients, and what all of these cost.

One contender at a time. Workers and clients are processes of the contender's own environment.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import psutil

from tests.bench import records
from tests.bench.contenders import Contender
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]

#: Seconds without a new row after which a contender counts as stuck, and seconds that one measurement may take in all.
STUCK, LONGEST = 20.0, 90.0


class Cost(NamedTuple):
    """CPU that was used up to a moment, in seconds."""

    at: float
    workers: float
    server: float

    def since(self, before: Cost) -> Cost:
        """What was used between two moments."""
        return Cost(*(now - then for now, then in zip(self, before, strict=True)))


class Stage:
    """Use as a context.

    Args:
        server: which is running; it is emptied again and again.
        contender: who is measured.
        concurrency: tasks at once in one process; default: the contender's.
        names: the four names of the system, for ours alone.
        patience: seconds to wait for an idle machine before each measurement.
    """

    def __init__(
        self,
        server: RedisServer | ServerCluster,
        contender: Contender,
        *,
        concurrency: int | None = None,
        names: dict[str, str] | None = None,
        patience: float = 5.0,
    ) -> None:
        self.server = server
        self._patience = patience
        self.contender = contender
        # On a file system in memory, where there is one.
        shm = Path("/dev/shm")
        self._folder = tempfile.TemporaryDirectory(prefix="pytask-bench-", dir=shm if shm.is_dir() else None)
        self.rows = Path(self._folder.name) / "rows"
        self.log = Path(self._folder.name) / "log"
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTASK_")},
            "BENCH_URL": server.url,
            "BENCH_NAMES": json.dumps(names or {}),
            "BENCH_CONCURRENCY": str(concurrency or contender.concurrency),
            records.VARIABLE: str(self.rows),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{contender.bin}{os.pathsep}{os.environ['PATH']}",
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self._clock = ServerClock(server)

    def __enter__(self) -> Stage:
        self.server.flush()
        self._until = time.monotonic() + LONGEST
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._clock.close()
        self._folder.cleanup()

    # Workers

    def start(self, processes: int | None = None) -> None:
        """Start the contender's workers."""
        contender, count = self.contender, processes or self.contender.processes
        words = contender.command.format(url=self.server.url, processes=count, bin=contender.bin)
        with self.log.open("ab") as log:
            for _ in range(1 if contender.has_master else count):
                self.processes.append(
                    subprocess.Popen(
                        shlex.split(words),
                        cwd=ROOT,
                        env=self._environ,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )

    def tree(self) -> list[psutil.Process]:
        """All processes of the workers."""
        found = []
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                main = psutil.Process(process.pid)
                found += [main, *main.children(recursive=True)]
        return found

    def kill(self) -> None:
        """End all of them: first as they wish, for those that tidy up, then for good."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
        for each in self.tree():
            with suppress(psutil.NoSuchProcess):
                each.kill()
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
        self.processes.clear()

    def ready(self) -> None:
        """Wait until a no-op has gone through every process that it can be told of, and all is still again."""
        before = records.count(self.rows)
        self.client("one", "noop", 1)
        self.wait_rows(before + 2)
        time.sleep(1.0)

    # Work

    def client(self, mode: str, kind: str, count: int, seconds: float = 0.0) -> float:
        """Enqueue, and wait until that is done; tasks a second. See ``tests.bench.client``."""
        with self.send(mode, kind, count, seconds) as process:
            try:
                out, trouble = process.communicate(timeout=max(1.0, self._until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                raise RuntimeError(f"the client of {self.contender.name} was stopped after {LONGEST:g} s") from None
        if process.returncode:
            raise RuntimeError(f"the client of {self.contender.name} failed: {last_line(trouble.decode())}")
        return float(json.loads(out.splitlines()[-1])["per_second"])

    def send(self, mode: str, kind: str, count: int, seconds: float = 0.0) -> subprocess.Popen[bytes]:
        """Begin to enqueue."""
        words = [self.contender.python, "-m", "tests.bench.client", self.contender.app, mode, kind]
        return subprocess.Popen(
            [*words, str(count), str(seconds)],
            cwd=ROOT,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_rows(self, count: int, interval: float = 0.005) -> None:
        """Wait until tasks have noted so many rows; raises AssertionError where they come to nothing."""
        last, since = -1, time.monotonic()
        while (now := records.count(self.rows)) < count:
            if now != last:
                last, since = now, time.monotonic()
            assert time.monotonic() - since < STUCK, (
                f"{self.contender.name} is stuck at {now} of {count} rows: {self.last_words()}"
            )
            assert time.monotonic() < self._until, f"{self.contender.name} has {now} of {count} rows in {LONGEST:g} s"
            time.sleep(interval)

    def last_words(self) -> str:
        """The last line that the workers wrote."""
        return last_line(self.log.read_text(errors="replace")) if self.log.exists() else "its workers said nothing"

    def read(self) -> list[records.Row]:
        """What tasks have noted."""
        return records.read(self.rows)

    # Cost

    def cost(self) -> Cost:
        """What was used so far."""
        workers = 0.0
        for each in self.tree():
            workers += cpu_of(each)
        return Cost(time.monotonic(), workers, self._clock.read())

    def cost_at_first_row(self) -> Cost:
        """The cost just before the first task runs, so that the start of the workers is not counted."""
        before, latest = records.count(self.rows), self.cost()
        began = time.monotonic()
        while records.count(self.rows) == before:
            assert time.monotonic() - began < STUCK, f"{self.contender.name} runs nothing"
            latest = self.cost()
            time.sleep(0.002)
        return latest

    def memory(self) -> int:
        """Bytes of resident memory of all worker processes."""
        return sum(int(each.memory_info().rss) for each in self.tree())

    def quiet(self) -> None:
        """Wait for an idle machine, as long as ``patience`` lets us."""
        with suppress(AssertionError):
            wait_until(lambda: psutil.cpu_percent(0.3) < 15, self._patience)


def last_line(text: str) -> str:
    """The last line of a log or a traceback, which says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no word"


def cpu_of(process: psutil.Process) -> float:
    """Seconds of CPU that a process has used; to the microsecond where the kernel tells, else in ticks."""
    try:
        times = process.cpu_times()
        threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
        exact = sum(int(each.read_text().split()[0]) for each in threads) / 1e9
    except (psutil.NoSuchProcess, OSError):
        return 0.0
    # Threads that have ended are in the ticks only.
    ticks = float(times.user + times.system)
    return exact if abs(exact - ticks) < 0.05 else max(exact, ticks)


def nodes_of(server: RedisServer | ServerCluster) -> list[RedisServer]:
    """The servers that it is made of."""
    return [server] if isinstance(server, RedisServer) else list(server.nodes)


class ServerClock:
    """Seconds of CPU that a server has used, all nodes of a cluster together."""

    def __init__(self, server: RedisServer | ServerCluster) -> None:
        self._clients = [node.client() for node in nodes_of(server)]

    def read(self) -> float:
        """So much until now."""
        found = [client.info("cpu") for client in self._clients]
        return sum(float(info["used_cpu_user"]) + float(info["used_cpu_sys"]) for info in found)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()
