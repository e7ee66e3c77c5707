"""Stands in for ``cluster_client`` where redis-py 3 is installed without redis-py-cluster.

A single server and Sentinels do not need it. A user who names a cluster gets a sentence that says what to install.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.connection import Connection, SSLConnection

from ..errors import PyTaskException


class _Referral(Exception):  # noqa: N818 - it is never raised
    """Stands for what only a cluster answers."""


REFERRALS = (_Referral, _Referral, _Referral)
PLAIN, TLS = Connection, SSLConnection


class ClusterClient:
    """Raises ``PyTaskException``."""

    def __init__(self, *_words: Any, **_options: Any) -> None:
        raise PyTaskException(
            f"redis-py {redis.__version__} does not support clusters: pip install 'redis>=5.2', or for programs that "
            "need redis-py 3 pip install 'pytask-supervisor[redis-py-cluster]'"
        )


Listeners = ClusterClient


def is_client(_instance: Any) -> bool:
    """There is no cluster client, so the answer is always no."""
    return False


def master_of(_client: Any, _key: str) -> Any:
    """Never called: there is no client."""
    raise NotImplementedError


nodes_of = options_of = routing_of = master_of
