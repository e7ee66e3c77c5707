"""Two tasks, so that the examples of deployment run as they stand. ``--tasks tasks`` runs them, Monitor and Cleanup."""

import logging

from pytask_core import Task, run_loop

log = logging.getLogger("tasks")


class Hello(Task):
    """Ends at once."""

    NAME = "hello"

    def __init__(self, name="world"):
        self.name = name

    def start(self):
        return f"Hello, {self.name}!"


class Clock(Task):
    """Runs until it is stopped, and moves to another worker when its own goes."""

    NAME = "clock"

    def __init__(self, seconds=10):
        self.seconds = seconds

    def start(self):
        run_loop(lambda: log.info("tick"), self.seconds)
