"""The set-ups in which the store, worker and fault tests run: one list, chosen by ``PYTASK_TEST_SETUP``.

``make test`` runs the first, ``make test-setup SETUP=cluster-tag`` another. The tests ask for ``redis_server``,
``own_server`` and ``names`` and never ask which set-up it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer


@dataclass(frozen=True)
class Setup:
    """A kind of server, and the four names of the system on it as options of ``PyTask``."""

    is_cluster: bool
    names: dict[str, str] = field(default_factory=dict)

    def server(self, **options: Any) -> RedisServer | ServerCluster:
        """A server of this kind, not started; ``options`` as of ``RedisServer``."""
        # Nobody dies here but with all others: a slow machine must not look like a death.
        return ServerCluster(timeout=15_000, **options) if self.is_cluster else RedisServer(**options)


TAGGED = {
    "task_set": "{pytask}tasks",
    "task_prefix": "{pytask}task-",
    "new_queue": "{pytask}new-task",
    "end_queue": "{pytask}end-task",
}

SETUPS = {
    "single": Setup(is_cluster=False),
    "cluster-tag": Setup(is_cluster=True, names=TAGGED),
    "cluster": Setup(is_cluster=True),
}


def chosen_name() -> str:
    """The name of the set-up of this run."""
    return os.environ.get("PYTASK_TEST_SETUP", "single")


def chosen() -> Setup:
    """The set-up of this run; ``KeyError`` where it is none of the list."""
    return SETUPS[chosen_name()]
