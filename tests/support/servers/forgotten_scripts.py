"""Servers that know no script any more, as one that is new, promoted or restarted. Called by tests."""

from __future__ import annotations

from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer


def forget_scripts(server: RedisServer | ServerCluster) -> None:
    """Have a server, or each node of a cluster, forget all scripts."""
    if isinstance(server, ServerCluster):
        for node in server.alive:
            node.ask("SCRIPT", "FLUSH")
    else:
        server.client().script_flush()
