"""A second app on the same server, with names of its own and a Monitor whose ``task_timeout`` is half of the others'.

Loaded by ``pytask-supervisor --app tests.soak.second:app``. What it alone knows has to wait while its host is away.
"""

from __future__ import annotations

from pytask_core import Monitor, PyTask
from tests.soak.app import MONITOR_INTERVAL, RENEWAL, TASK_TIMEOUT
from tests.soak.tasks import Forever, Short


class SecondShort(Short):
    """As in the first app."""

    NAME = "second/short"


class SecondForever(Forever):
    """As in the first app."""

    NAME = "second/forever"


app = PyTask(update_task_interval=RENEWAL, task_timeout=TASK_TIMEOUT, stop_timeout=2)
app.add_tasks(SecondShort, SecondForever, Monitor)
app.start_local_task("pytask/monitor", loop_interval=MONITOR_INTERVAL, task_timeout=TASK_TIMEOUT / 2)
