"""``python -m tests.bench.recovery --kills 200``: how soon a killed worker's tasks run again.

One supervisor, for-ever tasks that note their start in a ledger, and ``kill -9`` of a random child, again and again.
For each of its tasks the time from the kill to its next start is taken. Tasks of other children must go on undisturbed.
Exit code 1: one did not, or a goal was missed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from pytask_core import PyTaskHelpers
from tests.soak.figures import percentile
from tests.soak.ledger import VARIABLE, Record, Tail
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

#: The goal, in seconds.
P50, P99 = 0.3, 1.0

#: Seconds between two kills. Poison is judged within three seconds of a death, and no task must be taken for the cause
#: of three deaths that are ours.
PAUSE = 3.5


@dataclass
class Scene:
    """Which process runs which task, as the ledger tells."""

    tail: Tail
    holder: dict[str, int] = field(default_factory=dict)  #: id -> pid
    since: dict[str, float] = field(default_factory=dict)  #: id -> when it began there
    born: dict[int, float] = field(default_factory=dict)
    #: Begins that were read and not looked at yet.
    fresh: list[Record] = field(default_factory=list)

    def read(self) -> None:
        """Take what is new."""
        for record in self.tail.read():
            if record["kind"] == "born":
                self.born[record["pid"]] = record["t"]
            elif record["kind"] == "begin":
                self.holder[record["id"]] = record["pid"]
                self.since[record["id"]] = record["t"]
                self.fresh.append(record)

    def by_child(self) -> dict[int, set[str]]:
        """The tasks of each process."""
        found: dict[int, set[str]] = defaultdict(set)
        for task_id, pid in self.holder.items():
            found[pid].add(task_id)
        return found


@dataclass
class Measured:
    """What the kills showed."""

    times: list[float] = field(default_factory=list)
    lasts: list[float] = field(default_factory=list)  #: of each kill, until its last task ran again
    disturbed: int = 0


def kill_one(scene: Scene, supervisor: SupervisorProcess, dice: random.Random, measured: Measured) -> None:
    """Kill a child that has tasks, wait until all of them run again, and note how long that took."""
    scene.read()
    alive = set(supervisor.workers().values())
    held = {pid: ids for pid, ids in scene.by_child().items() if pid in alive}
    victim = dice.choice(sorted(held))
    lost = held[victim]
    scene.fresh.clear()
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)

    def all_run_again() -> bool:
        scene.read()
        return all(scene.holder[task_id] != victim for task_id in lost)

    wait_until(all_run_again, 30, f"{len(lost)} tasks of process {victim} running again", interval=0.002)
    times = [scene.since[task_id] - killed for task_id in lost]
    measured.times += times
    measured.lasts.append(max(times))
    measured.disturbed += sum(record["id"] not in lost for record in scene.fresh)


def measure(kills: int, workers: int, tasks: int, seed: int, pause: float) -> Measured:
    """Set everything up, kill so often, and stop gracefully."""
    measured, dice = Measured(), random.Random(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pytask-recovery-")))
        ledger = folder / "ledger"
        ledger.touch()
        server = stack.enter_context(RedisServer())
        scene = Scene(stack.enter_context(closing(Tail(ledger))))
        words = ["--app", "tests.soak.app:app", "--workers", str(workers), "--redis", server.url]
        supervisor = stack.enter_context(SupervisorProcess(folder, *words, environ={VARIABLE: str(ledger)}))
        supervisor.wait_ready(workers)
        helpers = stack.enter_context(closing(PyTaskHelpers(server.client())))
        helpers.start_tasks([("soak/forever", {}) for _ in range(tasks)])
        for done in range(kills):
            wait_until(
                lambda: _is_calm(scene, supervisor, workers, tasks, pause), 60, "a full team and all tasks running"
            )
            kill_one(scene, supervisor, dice, measured)
            if (done + 1) % 20 == 0:
                print(f"{done + 1} kills, {len(measured.times)} tasks began again", flush=True)
        supervisor.stop()
    return measured


def _is_calm(scene: Scene, supervisor: SupervisorProcess, workers: int, tasks: int, pause: float) -> bool:
    """Whether all children and tasks are there and the last death is long enough ago."""
    scene.read()
    now, pids = time.monotonic(), supervisor.workers().values()
    is_full = len(pids) == workers and len(scene.holder) == tasks
    return is_full and all(now - scene.born.get(pid, now) > pause for pid in pids)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds between two kills")
    words = parser.parse_args()
    try:
        measured = measure(words.kills, words.workers, words.tasks, words.seed, words.pause)
    except AssertionError as error:
        print(error)
        return 1
    times = measured.times
    p50, p90, p99 = (percentile(times, part) for part in (0.5, 0.9, 0.99))
    print(f"{words.kills} kills of one of {words.workers} workers; {len(times)} tasks were cut off and ran again after")
    print(
        f"  p50 {p50 * 1000:.0f} ms  p90 {p90 * 1000:.0f} ms  p99 {p99 * 1000:.0f} ms  max {max(times) * 1000:.0f} ms"
    )
    print(f"  the last task of a kill: p50 {percentile(measured.lasts, 0.5) * 1000:.0f} ms")
    print(f"  tasks of siblings that began again: {measured.disturbed}")
    passed = p50 <= P50 and p99 <= P99 and not measured.disturbed
    print(f"goal p50 <= {P50 * 1000:.0f} ms, p99 <= {P99 * 1000:.0f} ms: {'reached' if passed else 'MISSED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
