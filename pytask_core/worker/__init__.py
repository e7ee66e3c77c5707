"""One life of a worker: claims tasks, runs them, renews what it holds, reports, and leaves.

Reading order: ``worker``, ``parts`` (all parts, in the order in which they start), ``claimer`` (the way in),
``executor`` and ``stopping`` (a task's run), ``reporter`` (the way out), ``heartbeat``, ``shutdown``.
"""
