"""``python -m pytask_supervisor`` is ``pytask-supervisor``."""

from __future__ import annotations

from pytask_supervisor.cli import run

if __name__ == "__main__":
    run()
