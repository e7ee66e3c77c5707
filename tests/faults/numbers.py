"""What the app of the fault tests and the tests must agree on. Times are as short as a busy machine bears."""

from __future__ import annotations

import os

#: Seconds: see ``PyTask``. What is lost is another's after ``LEASE`` and ``SWEEP`` at most.
LEASE, GRACE, RENEWAL, SWEEP = 2.5, 1.2, 0.3, 0.5

#: Seconds that a task's ``stop`` may take, and that poison is judged in.
STOP, WINDOW = 0.3, 0.5

#: In the environment of workers that know ``faults/fresh``: a deployment half way.
FRESH = "FAULTS_FRESH"

#: In the environment of workers that run no Monitor of their own.
ALONE = "FAULTS_ALONE"

#: How much of what is counted: 1 for every day, more for a longer look (``make faults SCALE=20``).
SCALE = int(os.environ.get("FAULTS_SCALE") or 1)

#: Seconds: the same on clusters, where tasks are to outlive a failover.
CLUSTER_LEASE, CLUSTER_GRACE = 7.0, 5.0

#: In the environment of workers: more options of ``PyTask``, as JSON, such as the names of a set-up.
OPTIONS = "FAULTS_OPTIONS"
