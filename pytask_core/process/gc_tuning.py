"""Calms Python's garbage collector while a worker lives: it took a quarter of a short task's time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Objects that are made and not let go, before the collector looks at the young ones. More costs less time; fewer frees
#: cycles sooner, such as an exception that stands in a frame it refers to.
YOUNG = 10_000

#: The same in looks at the younger ones, for the middle-aged and the old.
MIDDLE, OLD = 20, 50


@contextmanager
def calm_collector() -> Iterator[None]:
    """Look for garbage less often, and not among what was there before. A collector that was turned off stays off."""
    young, middle, old = gc.get_threshold()
    # Modules and classes live as long as the process. To go over them again and again finds nothing.
    gc.collect()
    gc.freeze()
    if young:
        gc.set_threshold(max(young, YOUNG), max(middle, MIDDLE), max(old, OLD))
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
        gc.unfreeze()
