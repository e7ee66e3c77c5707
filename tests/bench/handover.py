"""``python -m tests.bench.handover --restarts 20``: what a rolling restart under load does to tasks.

One supervisor, tasks for ever, a stream of short ones, and HUP again and again, each once the one before is over. The
tasks note their runs in a ledger. Of each task for ever that changed hands the time is taken from the end of its run in
the old worker to the beginning in the new one. No task may be lost, and none may run twice at a time, or end twice.
Exit code 1: one was, or the goal was missed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from pytask_core import PyTaskHelpers
from tests.soak.figures import percentile
from tests.soak.ledger import VARIABLE, Record, read
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

#: The goal, in seconds.
P99 = 0.5

#: Seconds between two short tasks.
PACE = 0.01


@dataclass
class Measured:
    """What the restarts showed."""

    gaps: list[float] = field(default_factory=list)
    shorts: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    #: The least workers at work at any look, and how many there should be.
    least: int = 0
    seconds: float = 0.0


class Stream:
    """Starts short tasks until it is closed."""

    def __init__(self, helpers: PyTaskHelpers) -> None:
        self._helpers = helpers
        self.ids: list[str] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(PACE):
            self.ids.append(self._helpers.start_task("soak/short", seconds=0.02))

    def close(self) -> None:
        """Start no more."""
        self._is_over.set()
        self._thread.join()


def measure(restarts: int, workers: int, tasks: int) -> Measured:
    """Set everything up, restart so often, and read the ledger."""
    measured = Measured(least=workers)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pytask-handover-")))
        ledger = folder / "ledger"
        ledger.touch()
        server = stack.enter_context(RedisServer())
        words = ["--app", "tests.soak.app:app", "--workers", str(workers), "--redis", server.url]
        # How long draining takes does not change the gap that follows it.
        words += ["--drain-timeout", "1"]
        supervisor = stack.enter_context(SupervisorProcess(folder, *words, environ={VARIABLE: str(ledger)}))
        supervisor.wait_ready(workers)
        helpers = stack.enter_context(closing(PyTaskHelpers(server.client())))
        lasting = helpers.start_tasks([("soak/forever", {}) for _ in range(tasks)])
        wait_until(lambda: _running(ledger, lasting) == tasks, 60, "all tasks running")
        began = time.monotonic()
        with closing(Stream(helpers)) as stream:
            for number in range(1, restarts + 1):
                _restart(supervisor, number, workers, measured)
        measured.seconds = time.monotonic() - began
        wait_until(lambda: _running(ledger, lasting) == tasks, 30, "all tasks running again")
        wait_until(lambda: not set(stream.ids) - _returned(read(ledger)), 30, "all short tasks ended")
        supervisor.stop()
        judge(read(ledger), lasting, stream.ids, measured)
    return measured


def _restart(supervisor: SupervisorProcess, number: int, workers: int, measured: Measured) -> None:
    """One HUP; it is over when every worker is another and the old ones are gone."""
    supervisor.send(signal.SIGHUP)

    def is_over() -> bool:
        pids = len(supervisor.children())
        measured.least = min(measured.least, pids)
        return supervisor.text.count(" from now on") == workers * number and pids == workers

    wait_until(is_over, 60, f"restart {number}", interval=0.005)


def _running(ledger: Path, ids: list[str]) -> int:
    """How many of these have a run that has not ended."""
    open_runs: dict[str, str] = {}
    for record in read(ledger):
        if record["kind"] == "begin":
            open_runs[record["run"]] = record["id"]
        elif record["kind"] == "end":
            open_runs.pop(record["run"], None)
    return len(set(open_runs.values()) & set(ids))


def _returned(records: list[Record]) -> set[str]:
    of_run = {record["run"]: record["id"] for record in records if record["kind"] == "begin"}
    return {of_run[record["run"]] for record in records if record["kind"] == "end" and record["how"] == "returned"}


def judge(records: list[Record], lasting: list[str], shorts: list[str], measured: Measured) -> None:
    """Find gaps, lost tasks, and runs of one task side by side."""
    begun: dict[str, list[tuple[float, str]]] = defaultdict(list)
    ended: dict[str, float] = {}
    returned: Counter[str] = Counter()
    of_run: dict[str, str] = {}
    for record in records:
        if record["kind"] == "begin":
            begun[record["id"]].append((record["t"], record["run"]))
            of_run[record["run"]] = record["id"]
        elif record["kind"] == "end":
            ended[record["run"]] = record["t"]
            returned[of_run[record["run"]]] += record["how"] == "returned"
    for task_id in (*lasting, *shorts):
        for (_, run), (following, _) in pairwise(sorted(begun[task_id])):
            if ended.get(run, float("inf")) > following:
                measured.doubled.append(task_id)
            elif task_id in begun and run in ended:
                measured.gaps.append(following - ended[run])
    measured.shorts = len(shorts)
    measured.lost += [task_id for task_id in lasting if not begun[task_id]]
    measured.lost += [task_id for task_id in shorts if not returned[task_id]]
    measured.doubled += [task_id for task_id in shorts if returned[task_id] > 1]


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.handover", description=__doc__.partition("\n")[0])
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=400, help="tasks for ever")
    words = parser.parse_args()
    try:
        measured = measure(words.restarts, words.workers, words.tasks)
    except AssertionError as error:
        print(error)
        return 1
    gaps = measured.gaps
    p50, p99 = percentile(gaps, 0.5), percentile(gaps, 0.99)
    print(f"{words.restarts} rolling restarts of {words.workers} workers in {measured.seconds:.0f} s, under load:")
    print(f"  {words.tasks} tasks for ever, {measured.shorts} short ones; {len(gaps)} runs went on elsewhere after")
    print(f"  p50 {p50 * 1000:.0f} ms  p99 {p99 * 1000:.0f} ms  max {max(gaps, default=0) * 1000:.0f} ms")
    print(f"  lost {len(measured.lost)}, doubled {len(measured.doubled)}; never fewer than {measured.least} workers")
    passed = bool(gaps) and p99 <= P99 and not measured.lost and not measured.doubled
    print(f"goal p99 <= {P99 * 1000:.0f} ms, none lost, none doubled: {'reached' if passed else 'MISSED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
