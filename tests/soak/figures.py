"""What a soak measured, besides its verdict: how soon things were as before. Pure; called by ``stage``."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from tests.soak.book import open_book
from tests.soak.ledger import Record
from tests.soak.nemesis import Done


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def figures(records: list[Record], faults: list[Done]) -> list[str]:
    """A line for each kind of fault: throughput back after, and tasks that a death cut off running again after."""
    backs: dict[str, list[float]] = defaultdict(list)
    again: dict[str, list[float]] = defaultdict(list)
    times = [fault.at for fault in faults]
    for fault in faults:
        if fault.back is not None:
            backs[_name(fault)].append(fault.back)
    book = open_book(records)
    for task_id, runs in book.of.items():
        asked = [each.asked for each in book.asked.get(task_id, ())]
        for run, following in pairwise(runs):
            at = bisect_right(times, run.ended) - 1
            # One that was stopped, or was about to be, is not to run again at once.
            is_told = any(run.ended - 1.0 < t < following.began for t in asked)
            if run.how is None and at >= 0 and not is_told:
                again[_name(faults[at])].append(following.began - run.ended)
    lines = [f"{'fault':<30} {'times':>5}  {'throughput back after':>22}  {'cut-off tasks run again after':>32}"]
    for name in sorted(backs):
        back, gaps = backs[name], again.get(name, [])
        gap = f"p50 {percentile(gaps, 0.5):.2f} max {max(gaps):.2f} s ({len(gaps)})" if gaps else ""
        worst = f"p50 {percentile(back, 0.5):.1f} max {max(back):.1f} s"
        lines.append(f"{name:<30} {len(back):>5}  {worst:>22}  {gap:>32}")
    return lines


def _name(fault: Done) -> str:
    return "+".join(fault.names)
