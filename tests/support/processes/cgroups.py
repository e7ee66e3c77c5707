"""A cgroup of a test's own, below ours. Called by tests of what happens where a cgroup's limit is reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def own_cgroup(controller: str, old_name: str, name: str, value: str) -> Iterator[Path]:
    """Make one with that limit, called ``old_name`` in version 1; skip where we may make none."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    paths = {controllers: path.lstrip("/") for _, controllers, path in lines}
    root = Path("/sys/fs/cgroup")
    is_old = controller in paths
    parent = root / controller / paths[controller] if is_old else root / paths.get("", "")
    made = parent / f"pytask-test-{os.getpid()}"
    try:
        made.mkdir()
        (made / (old_name if is_old else name)).write_text(value)
    except OSError as error:
        made.exists() and made.rmdir()
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        yield made
    finally:
        made.rmdir()
