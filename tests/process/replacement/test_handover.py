"""A rolling restart under load: what runs for ever goes on in another worker at once, and nothing is lost."""

from __future__ import annotations

from tests.bench.handover import P99, measure
from tests.soak.figures import percentile


def test_a_rolling_restart_hands_over_each_task_in_half_a_second() -> None:
    """F13: twice, with two workers."""
    measured = measure(restarts=2, workers=2, tasks=20)
    assert measured.lost == []
    assert measured.doubled == []
    assert measured.shorts > 0
    # Half of the tasks change hands with each worker that is replaced.
    assert len(measured.gaps) >= 20
    assert percentile(measured.gaps, 0.99) <= P99
    assert measured.least == 2
