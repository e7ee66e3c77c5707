"""``make bench``: everything side by side on one server, in one run; ``make bench-quick``: the headline of it.

``--rivals dramatiq,huey`` adds rivals, each in an environment of its own that is made where there is none; ``all`` is
all that we know, ``installed`` those that are there already. ``--write`` writes ``docs/benchmarks.rst`` and the plots
beside it. ``--only`` names the parts to run, ``--small`` makes each so small that it shows only that it works. Servers
run with jemalloc where it is installed, unless ``PYTASK_TEST_PRELOAD`` is set to nothing, or to another library.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from dataclasses import dataclass, field

from tests.bench import report
from tests.bench.contenders import OURS, RIVALS, SUPERVISED, TWO, Contender, installed, rival
from tests.bench.measures import beside, growth, keeping, lasting, setups
from tests.bench.results import Results
from tests.bench.stage import Stage
from tests.support.servers.redis_server import RedisServer


@dataclass
class Run:
    """What is measured in this run, and how large."""

    server: RedisServer
    contenders: list[Contender]
    results: Results = field(default_factory=Results)
    among_setups: Results = field(default_factory=Results)
    curves: list[growth.Curve] = field(default_factory=list)
    runs: int = 3
    #: 1: as the goals say.
    size: float = 1.0
    #: Seconds of each paced stream, and to wait for an idle machine.
    stream: float = 10.0
    patience: float = 5.0

    def scaled(self, count: int) -> int:
        """So many in this run."""
        return max(10, int(count * self.size))

    # The parts, in the order in which they run

    def noop(self) -> None:
        """No-op tasks, of the loops that run nothing too."""
        for _ in range(self.runs):
            beside.limits(self.server, self.scaled(50_000), self.results)
        count = self.scaled(30_000)
        self._each(self.contenders, beside.OF_NOOP, lambda stage: beside.noop(stage, count, self.results))

    def enqueue(self) -> None:
        """Starting tasks."""
        whos, count = [each for each in self.contenders if each not in {TWO, SUPERVISED}], self.scaled(10_000)
        self._each(whos, beside.OF_ENQUEUE, lambda stage: beside.enqueue(stage, count, self.results))

    def naps(self) -> None:
        """Tasks that sleep."""
        self._each(self.contenders, beside.OF_NAPS, lambda stage: beside.naps(stage, self.results))

    def latency(self) -> None:
        """From start to run."""
        whos = [each for each in self.contenders if each is not TWO]
        self._each(whos, beside.OF_LATENCY, lambda stage: beside.latency(stage, self.stream, self.results), self.fewer)

    def lasting(self) -> None:
        """Tasks that run for ever."""
        for _ in range(self.fewer):
            lasting.memory_and_renewing(self.server, self.scaled(10_000), self.results)
            lasting.burst(self.server, self.scaled(1000), self.results)

    def start(self) -> None:
        """A supervisor and its workers."""
        for _ in range(self.runs):
            lasting.start(self.server, self.results)

    def monitor(self) -> None:
        """A round of Monitor."""
        keeping.monitor(self.server, self.scaled(1_000_000), 8, self.results)

    def recovery(self) -> None:
        """Killed workers."""
        keeping.kills(max(2, int(10 * self.size)), self.results)

    def setups(self) -> None:
        """The three kinds of server."""
        for _ in range(self.runs):
            setups.all_setups(self.scaled(20_000), self.among_setups)

    def growth(self) -> None:
        """The curves."""
        for curve in growth.curves(self.server, is_small=self.size < 1):
            self.curves.append(curve)

    @property
    def fewer(self) -> int:
        """How often what takes long and varies little is measured."""
        return max(1, self.runs - 1)

    def all(self, parts: Sequence[str]) -> None:
        """Run these parts; one that fails is told of, and the others go on."""
        for part in parts:
            print(f"{part} …", file=sys.stderr, flush=True)
            began = time.monotonic()
            try:
                getattr(self, part)()
            except Exception as error:
                self._tell(f"The part {part!r} was cut short: {in_a_line(error)}")
            print(f"{part}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    def _each(
        self, whos: list[Contender], whats: Sequence[str], measure: Callable[[Stage], None], runs: int | None = None
    ) -> None:
        """Measure contenders in turns; one that fails is told of and left out of the rest, and the others go on."""
        left = set(whos)
        for who in beside.turns(whos, runs or self.runs):
            if who not in left:
                continue
            try:
                with Stage(self.server, who, patience=self.patience) as stage:
                    measure(stage)
            except Exception as error:
                left.discard(who)
                self.results.fail(whats, who.name)
                self._tell(f"{who.name} failed in {whats[0]!r} and so on: {in_a_line(error)}")

    def _tell(self, words: str) -> None:
        self.results.remarks.append(words)
        print(words, file=sys.stderr, flush=True)


def in_a_line(error: Exception) -> str:
    """What went wrong, short enough for a table's foot."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


PARTS = ("noop", "enqueue", "naps", "latency", "lasting", "start", "monitor", "recovery", "setups", "growth")
QUICK = ("noop", "enqueue", "naps", "latency")


def chosen(words: argparse.Namespace, results: Results) -> list[Contender]:
    """Who is measured; a rival that cannot be installed is told of and left out."""
    there = installed()
    if words.rivals is None:
        asked = [name for name in there if name == "dramatiq" or not words.quick]
    else:
        asked = {"": [], "all": list(RIVALS), "installed": there}.get(words.rivals, words.rivals.split(","))
    found = [OURS] if words.quick else [OURS, TWO, SUPERVISED]
    for name in asked:
        try:
            found.append(rival(name))
        except subprocess.CalledProcessError as error:
            results.remarks.append(f"{name} could not be installed: {in_a_line(error)}")
    return found


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--rivals", help="names, 'all', 'installed' (default; quick: dramatiq alone) or ''")
    parser.add_argument("--only", default="", help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument("--runs", type=int, default=3, help="of each contender")
    parser.add_argument("--quick", action="store_true", help="the headline only")
    parser.add_argument("--small", action="store_true", help="see only that it works")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.rst and the plots")
    words = parser.parse_args()
    unknown = set((words.rivals or "").split(",")) - set(RIVALS) - {"", "all", "installed"}
    if unknown:
        parser.error(f"no such rival: {', '.join(sorted(unknown))}; there are {', '.join(RIVALS)}")
    parts = words.only.split(",") if words.only else list(QUICK if words.quick else PARTS)
    if wrong := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(wrong))}; there are {', '.join(PARTS)}")
    # Servers are built with it everywhere but in the wheel; see the page's own words.
    os.environ.setdefault("PYTASK_TEST_PRELOAD", find_library("jemalloc") or "")
    results = Results()
    contenders = chosen(words, results)
    with RedisServer(tcp=True) as server:
        run = Run(server, contenders, results, runs=words.runs)
        if words.small:
            run.size, run.stream, run.runs, run.patience = 0.1, 2.0, 1, 0.0
        elif words.quick:
            run.size, run.stream, run.runs, run.patience = 0.5, 4.0, min(words.runs, 2), 1.0
        text = report.Report(run.results, run.among_setups, run.curves, contenders, server, run.runs, not words.small)
        try:
            run.all(parts)
        finally:  # what was measured until it was interrupted is worth as much
            print(text.for_terminal())
            if words.write:
                text.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
