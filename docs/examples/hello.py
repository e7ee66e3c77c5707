"""The smallest app: two tasks, and a few samples of them. ``make run`` starts it with four workers.

Without a supervisor, on a Redis at localhost: ``python docs/examples/hello.py``.
"""

from gevent import monkey

monkey.patch_all()

import logging

import gevent

from pytask_core import Cleanup, Monitor, PyTask, Task, run_loop

log = logging.getLogger("hello")


class Hello(Task):
    """Says hello after a while, and ends."""

    NAME = "hello"

    def __init__(self, name="world", seconds=0):
        self.name = name
        self.seconds = seconds

    def start(self):
        gevent.sleep(self.seconds)
        log.info("Hello, %s!", self.name)
        return f"Hello, {self.name}!"


class Clock(Task):
    """Ticks until it is stopped."""

    NAME = "clock"

    def __init__(self, seconds=10):
        self.seconds = seconds
        self.ticks = 0

    def start(self):
        run_loop(self.tick, self.seconds)

    def tick(self):
        self.ticks += 1
        log.info("%s: tick %d", self.id, self.ticks)
        self.emit("tick", self.ticks)

    def stop(self):
        log.info("%s: stopped after %d ticks", self.id, self.ticks)


class Samples(Task):
    """Starts a few tasks. Every worker does; an id that waits or runs already does not start again."""

    NAME = "samples"

    def start(self):
        for name in ("Ada", "Grace", "Edsger"):
            self.helpers.start_task("hello", f"sample-{name}", name=name, seconds=3)
        self.helpers.start_task("clock", "sample-clock")


app = PyTask()
app.add_tasks(Hello, Clock, Samples, Monitor, Cleanup)
app.start_local_task("pytask/monitor")
app.start_local_task("pytask/cleanup", retention=600)
app.start_local_task("samples")

if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    app.run()
