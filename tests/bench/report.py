"""What was measured, for a terminal and for ``docs/benchmarks.rst``."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.bench import plot
from tests.bench.contenders import OURS, Contender
from tests.bench.goals import goals
from tests.bench.measures import beside
from tests.bench.measures.growth import Curve
from tests.bench.results import Results, rst_table, text_table
from tests.support.servers.redis_server import RedisServer

DOCS = Path(__file__).parents[2] / "docs"

#: The tables of contenders side by side: title, columns, and whose number is 1.
TABLES = (
    ("No-op tasks, results stored", (beside.RATE, beside.SERVER, beside.WORKER), OURS.name),
    ("Tasks that sleep, and starting tasks", (beside.NAPS, beside.ONE, beside.BULK), OURS.name),
    ("From start to run", (beside.IDLE_P50, beside.IDLE_P99, beside.HALF_P50, beside.HALF_P99), OURS.name),
)

SINGLE = "single server"

HOW = """\
Seconds differ from machine to machine, so compare the ratios. Each cell is the median of the runs, with the lowest and
the highest in brackets, and the ratio to pytask's median. The runs of all contenders take turns, on one server, over
TCP, without saving to disk. Tasks note what they do in a file in memory, so that the server sees only the contenders'
own commands. Each contender stores results, and has the settings that it recommends for tasks that wait.

- No-op tasks: the queue is filled before the workers start. The rate is from the first task to the last, and CPU is
  counted from the first task on, so start-up is not included.
- Idle: 50 tasks a second for an idle worker, from the call that starts a task to its first line. Half load: the same at
  half of what the contender's client and worker can do.
- The limit takes the same tasks from the new queue to the end queue with a script for a hundred ids, and runs nothing;
  the pipeline does so with plain commands.
- A contender that stands still for twenty seconds, or takes ninety for one measurement, has failed in it. The end of
  the page says why.
- The server runs with jemalloc if that is installed, as the servers of distributions and of the official images do. The
  wheel's own build uses the C library's malloc. With that, every contender's tasks cost the server about a third more,
  and more still with a million tasks in the queue: compare the curves of both."""


@dataclass
class Report:
    """Tables of one run."""

    results: Results
    among_setups: Results
    curves: list[Curve]
    contenders: Sequence[Contender]
    server: RedisServer
    runs: int
    is_full: bool = True

    def tables(self) -> Iterator[tuple[str, list[list[str]]]]:
        """Each with its title."""
        whos = [each.name for each in self.contenders]
        for title, whats, base in TABLES:
            rows = self.results.table(whats, [*whos, beside.LIMIT, beside.PIPELINE, beside.RAW], base)
            if len(rows) > 1:
                yield title, rows
        if self.among_setups.values:
            whats = (beside.RATE, beside.SERVER, beside.WORKER, beside.ONE, beside.BULK)
            whos = list(dict.fromkeys(who for _, who in self.among_setups.values))
            yield "Single server and cluster", self.among_setups.table(whats, whos, SINGLE)
        for curve in self.curves:
            rows = [[f"{at:,.0f}", *(f"{cost:.1f}" for cost in costs)] for at, *costs in curve.points]
            head = [curve.along, "server µs", "pytask µs", "server µs of the limit loop"]
            yield f"{curve.name}: {curve.sentence}", [head[: len(curve.points[0])], *rows]

    def goals(self) -> list[list[str]]:
        """What is to be reached, with what was measured."""
        found = [[each.what, each.wanted, each.measured, each.verdict] for each in goals(self.results)]
        return [["what", "goal", "measured", ""], *found]

    def verdict(self) -> str:
        """The same in words."""
        found = goals(self.results)
        missed = [f"{each.what} ({each.measured}; goal {each.wanted})" for each in found if each.reached is False]
        unknown = [f"{each.what} ({each.wanted})" for each in found if each.reached is None]
        parts = [f"{sum(each.reached is True for each in found)} of {len(found)} goals were reached."]
        if missed:
            parts.append(f"Not reached: {'; '.join(missed)}.")
        if unknown:
            parts.append(f"Not measured: {'; '.join(unknown)}.")
        return " ".join(parts)

    def machine(self) -> list[str]:
        """Where, with what, and with which settings."""
        with self.server.client() as client:
            info, memory = client.info("server"), client.info("memory")
        name = str(info.get("server_name", "redis")).capitalize()
        libraries = ", ".join(f"{each} {version(each)}" for each in ("redis", "hiredis", "gevent", "greenlet"))
        maps = Path(f"/proc/{info['process_id']}/maps")
        has_jemalloc = maps.exists() and "jemalloc" in maps.read_text()
        malloc = "jemalloc, as distributions build it" if has_jemalloc else f"{memory['mem_allocator']} for malloc"
        lines = [
            f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} CPUs ({_cpu()}); load {os.getloadavg()[0]:.1f} at the end",
            f"{platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}",
            f"{name} {info.get('valkey_version') or info['redis_version']} on loopback, with {malloc}; {libraries}",
            f"{self.runs} runs"
            + ("" if self.is_full else ", each far smaller than the goals say: it shows only that it works"),
        ]
        lines += [f"{each.name}: " + "; ".join((each.settings, *each.versions)) for each in self.contenders]
        return lines + self.results.remarks

    def for_terminal(self) -> str:
        """Everything as text."""
        parts = [f"{title}\n\n{text_table(rows)}" for title, rows in self.tables()]
        parts.append("Goals\n\n" + text_table([row for row in self.goals() if row[-1] != "not measured"]))
        parts.append(self.verdict())
        parts.append("\n".join(self.machine()))
        return "\n" + "\n\n".join(parts)

    def write(self) -> None:
        """Write the page and its pictures."""
        page = ["Benchmarks", "==========", "", "Written by ``make bench RIVALS=all``.", "", HOW, ""]
        words = textwrap.wrap(self.verdict(), 118, break_on_hyphens=False)
        page += ["Goals", "-----", "", *words, "", rst_table(self.goals()), ""]
        for title, rows in self.tables():
            name, _, sentence = title.partition(": ")
            page += [name, "-" * len(name), "", *([sentence, ""] if sentence else [])]
            if sentence:
                page += [f".. image:: pictures/growth_{name.lower()}.svg", ""]
            page += [rst_table(rows), ""]
        page += ["Where and with what", "-------------------", "", *(f"- {line}" for line in self.machine()), ""]
        (DOCS / "benchmarks.rst").write_text("\n".join(page), "utf-8")
        for curve in self.curves:
            (DOCS / "pictures" / f"growth_{curve.name.lower()}.svg").write_text(plot.svg(curve), "utf-8")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
