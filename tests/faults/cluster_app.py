"""The app of the fault tests on clusters: as ``app.py``, with names and durability of the test's choice.

Its tasks outlive a failover: nothing is stopped because a master is gone.
"""

from __future__ import annotations

import json
import os
from typing import Any

from pytask_core import Cleanup, Monitor, PyTask
from tests.faults.numbers import CLUSTER_GRACE, CLUSTER_LEASE, OPTIONS, RENEWAL, STOP, SWEEP
from tests.soak.tasks import Forever, Polite, Short


def make() -> PyTask:
    """The app; Redis is named by the supervisor."""
    options: dict[str, Any] = {"task_timeout": CLUSTER_LEASE, "partition_grace": CLUSTER_GRACE}
    options.update(json.loads(os.environ[OPTIONS]))
    app = PyTask(update_task_interval=RENEWAL, stop_timeout=STOP, **options)
    app.add_tasks(Short, Forever, Polite, Monitor, Cleanup)
    app.start_local_task("pytask/monitor", loop_interval=SWEEP)
    return app


app = make()
