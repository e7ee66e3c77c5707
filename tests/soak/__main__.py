"""``python -m tests.soak --seed N --duration SECONDS``: faults at random under load, and a verdict.

Redis runs with ``appendfsync always``, so that no write it has answered may be gone after its ``kill -9``; with
``everysec`` those of the last second may. Exit code 0: every promise was kept. 1: not, and ledger and logs are kept.
"""

from __future__ import annotations

import argparse
import sys

from tests.soak.nemesis import FAULTS
from tests.soak.stage import Plan, Stage


def main() -> int:
    """Run one soak."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=1, help="decides which faults come in which order")
    parser.add_argument("--duration", type=float, default=60, help="seconds under faults")
    parser.add_argument("--workers", type=int, default=4, help="of both hosts together")
    parser.add_argument("--rate", type=float, default=60, help="tasks a second")
    parser.add_argument("--forever", type=int, default=30, help="for-ever tasks")
    parser.add_argument("--only", default="", help=f"faults, with commas between: {', '.join(FAULTS)}")
    parser.add_argument("--keep", action="store_true", help="keep ledger and logs also of a soak that passes")
    words = parser.parse_args()
    only = tuple(name for name in words.only.split(",") if name)
    if unknown := set(only) - set(FAULTS):
        parser.error(f"no such faults: {', '.join(sorted(unknown))}")
    plan = Plan(words.seed, words.duration, words.workers, words.rate, forever=words.forever, only=only)
    with Stage(plan, lambda line: print(line, flush=True), keep=words.keep) as stage:
        print(f"seed {plan.seed}; ledger and logs in {stage.folder}", flush=True)
        report = stage.run()
    print(report.text())
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
