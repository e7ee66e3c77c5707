"""The app of the soak, loaded by ``pytask-supervisor --app tests.soak.app:app``. Its tasks write what they do.

Times are short so that every recovery fits between two faults: a lost host's tasks are another's after five seconds.
"""

from __future__ import annotations

from pytask_core import Cleanup, Monitor, PyTask
from tests.soak.tasks import Forever, Forking, Polite, Short

#: Seconds: see ``PyTask``. The checker and the nemesis know how long recovery may take from here.
TASK_TIMEOUT, MONITOR_INTERVAL, RENEWAL = 4.0, 1.0, 0.5


def make() -> PyTask:
    """The app; Redis is named by the supervisor."""
    app = PyTask(
        update_task_interval=RENEWAL,
        task_timeout=TASK_TIMEOUT,
        stop_timeout=2,
    )
    app.add_tasks(Short, Forking, Forever, Polite, Monitor, Cleanup)
    app.start_local_task("pytask/monitor", loop_interval=MONITOR_INTERVAL)
    app.start_local_task("pytask/cleanup")
    return app


app = make()
