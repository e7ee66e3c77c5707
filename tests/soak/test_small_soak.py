"""One short round of the soak: every fault once, in small, under load, and the checker passes."""

from __future__ import annotations

from tests.soak.nemesis import FAULTS
from tests.soak.stage import Plan, Stage

_PLAN = Plan(seed=20, workers=4, rate=40, forever=12, scale=0.2, each_once=True)


def test_every_fault_once_under_load_and_nothing_is_lost_or_doubled() -> None:
    with Stage(_PLAN) as stage:
        report = stage.run()
    assert report.ok, f"{report.text()}\nledger and logs: {stage.folder}"
    # The kit itself was at work.
    assert report.counts["faults"] == len(FAULTS)
    assert report.counts["ends"] > 300
    assert report.counts["runs cut off by a death"] > 0
