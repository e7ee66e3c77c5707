"""What was measured, of whom, how often; medians, spreads, ratios, and tables of them. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Results:
    """Values by what and whose they are, in the order in which they came."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    #: Sentences for the reader, such as why somebody has no value.
    remarks: list[str] = field(default_factory=list)
    #: What failed, and whose: as in ``values``.
    failed: set[tuple[str, str]] = field(default_factory=set)

    def add(self, what: str, who: str, value: float) -> None:
        """Note one value of one run."""
        self.values[what, who].append(value)

    def fail(self, whats: Iterable[str], who: str) -> None:
        """Note that these could not be measured."""
        self.failed.update((what, who) for what in whats)

    def median(self, what: str, who: str) -> float | None:
        """The middle of all runs, or None."""
        found = self.values.get((what, who))
        return statistics.median(found) if found else None

    def has(self, what: str) -> bool:
        """Whether anybody has a value."""
        return any(key[0] == what for key in self.values)

    def cell(self, what: str, who: str, base: str) -> str:
        """Median, the lowest and highest in brackets, and the ratio to ``base``; or that it failed."""
        found, middle = self.values.get((what, who)), self.median(what, who)
        if not found or middle is None:
            return "failed" if (what, who) in self.failed else "–"
        spread = f" [{number(min(found))}–{number(max(found))}]" if len(found) > 1 else ""
        reference = self.median(what, base)
        ratio = f" ×{number(middle / reference)}" if reference and who != base else ""
        return f"{number(middle)}{spread}{ratio}"

    def table(self, whats: Sequence[str], whos: Sequence[str], base: str) -> list[list[str]]:
        """Rows of cells under a head, without columns in which nobody has a value."""
        shown = [what for what in whats if self.has(what)]
        rows = [[who, *(self.cell(what, who, base) for what in shown)] for who in whos]
        return [["", *shown], *(row for row in rows if set(row[1:]) - {"–"})]


def number(value: float) -> str:
    """Three figures that count, or all before the point."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def text_table(rows: Iterable[Sequence[str]]) -> str:
    """For a terminal."""
    rows = list(rows)
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    return "\n".join(
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in ([*zip(row, widths, strict=True)] for row in rows)
    )


def rst_table(rows: Iterable[Sequence[str]]) -> str:
    """The same for a page."""
    rows = [[cell or ".." for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    line = " ".join("=" * width for width in widths)
    body = [" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([line, body[0], line, *body[1:], line])
