"""The numbers to reach, each beside what was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench.contenders import OURS, RIVALS
from tests.bench.measures import beside, keeping, lasting
from tests.bench.results import Results, number


@dataclass(frozen=True)
class Goal:
    """One line of the table."""

    what: str
    wanted: str
    measured: str
    reached: bool | None  #: None: not measured, or nobody to compare with

    @property
    def verdict(self) -> str:
        """In words."""
        return {True: "reached", False: "not reached", None: "not measured"}[self.reached]


def at_most(results: Results, what: str, bound: float, unit: str, label: str = "") -> Goal:
    """A number of ours that must not be larger."""
    value = results.median(what, OURS.name)
    shown = "" if value is None else f"{number(value)} {unit}"
    return Goal(label or what, f"≤ {number(bound)} {unit}", shown, None if value is None else value <= bound)


def times(
    results: Results, what: str, label: str, other: tuple[str, str | None], factor: float, *, is_most: bool = False
) -> Goal:
    """A number of ours compared with somebody else's: ``other`` is a name for the reader, and whose."""
    name, who = other
    sign = "≤" if is_most else "≥"
    wanted = f"{sign} {factor:g} × {name}"
    value, reference = results.median(what, OURS.name), results.median(what, who) if who else None
    if not value or not reference:
        return Goal(label, wanted, "", None)
    ratio = value / reference
    return Goal(label, wanted, f"{number(ratio)} ×", ratio <= factor if is_most else ratio >= factor)


def fastest(results: Results, what: str) -> tuple[str, str | None]:
    """The rival with the highest number."""
    found = [(value, who) for who in RIVALS if (value := results.median(what, who))]
    if not found:
        return "the fastest rival", None
    return f"the fastest rival ({max(found)[1]})", max(found)[1]


def goals(results: Results) -> list[Goal]:
    """All of them, in the order of the design."""
    return [*_beside(results), *_ours(results)]


def _beside(results: Results) -> Iterator[Goal]:
    noop, cpu = "no-op tasks, one worker", "server CPU a task"
    limit, plain, raw = (
        ("the limit", beside.LIMIT),
        ("the plain pipeline", beside.PIPELINE),
        ("a raw pipeline", beside.RAW),
    )
    ideal = beside.NAP_COUNT / beside.NAP_AT_ONCE * beside.NAP_SECONDS
    yield times(results, beside.RATE, noop, fastest(results, beside.RATE), 10)
    yield times(results, beside.RATE, noop, limit, 0.3)
    yield times(results, beside.RATE, noop, plain, 1)
    yield times(results, beside.SERVER, cpu, limit, 1.5, is_most=True)
    yield times(results, beside.ONE, "start one by one", fastest(results, beside.ONE), 1)
    yield times(results, beside.BULK, "start in bulk", raw, 0.5)
    yield at_most(results, beside.NAPS, 1.3 * ideal, "s", f"5,000 × 0.1 s, 1,000 at once (ideal {ideal:g} s)")
    yield at_most(results, beside.IDLE_P50, 0.9, "ms", "start to run, idle worker, 50/s: p50")
    yield at_most(results, beside.IDLE_P99, 2, "ms", "start to run, idle worker, 50/s: p99")


def _ours(results: Results) -> Sequence[Goal]:
    return [
        at_most(results, lasting.MEMORY, 12, "KiB", "10,000 for-ever tasks: memory of one"),
        at_most(results, lasting.RENEWING, 5, "%", "10,000 for-ever tasks: renewing them, of a core"),
        at_most(results, lasting.SHARE, 30, "%", "1,000 for-ever tasks: on the fullest of 4 workers"),
        at_most(results, keeping.ROUND, 10, "ms", "Monitor over 1,000,000 active tasks: a round"),
        at_most(results, keeping.AGAIN_P50, 300, "ms", "kill -9 of a worker, its tasks run again: p50"),
        at_most(results, keeping.AGAIN_P99, 1000, "ms", "kill -9 of a worker, its tasks run again: p99"),
        at_most(results, lasting.STOP, 2, "s", "stop 4 workers with 1,000 for-ever tasks"),
        at_most(results, lasting.STOP_LEFT, 0, "tasks", "after that stop: not WAIT and queued"),
        at_most(results, lasting.START, 1.5, "s", "supervisor with 4 workers, until all are ready"),
        at_most(results, lasting.MASTER, 25, "MiB", "memory of the master"),
    ]
