"""What is published on the event channels of tasks. Called by tests."""

from __future__ import annotations

import json
from typing import Any

from pytask_core.keys import RedisKeys
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer


class Listener:
    """Hears the events of some tasks, from now on. The server's ``close_clients`` closes it."""

    def __init__(self, server: RedisServer | ServerCluster, keys: RedisKeys, *ids: str) -> None:
        # Protocol 2, where the answer to PING is a message like the others.
        # On a cluster other nodes hear of it a moment later than the one that has the key.
        nearest = server.master_of(keys.task(ids[0])) if isinstance(server, ServerCluster) else server
        self._client = nearest.client(decode_responses=True, encoding_errors="surrogateescape", protocol=2)
        self._pubsub: Any = self._client.pubsub()
        self._pubsub.subscribe(*[keys.task(each).encode("utf-8", "surrogateescape") for each in ids])
        for _ in ids:
            assert self._pubsub.get_message(timeout=5)["type"] == "subscribe"

    def close(self) -> None:
        """Hear no more."""
        self._pubsub.close()
        self._client.connection_pool.disconnect()

    def heard(self) -> list[Any]:
        """What came since the last look. The answer to a PING marks the end, since replies keep their order."""
        self._pubsub.ping("end")
        messages = []
        while (message := self._pubsub.get_message(timeout=5))["type"] != "pong":
            messages.append(json.loads(message["data"]))
        return messages

    def until(self, *last: str, ends: int = 1) -> list[Any]:
        """Wait until an event named in ``last`` has come ``ends`` times; all until then."""
        messages: list[Any] = []
        while ends:
            message = self._pubsub.get_message(timeout=20)
            assert message is not None, f"waited in vain for {last}; heard {messages}"
            messages.append(json.loads(message["data"]))
            ends -= messages[-1]["event"] in last
        return messages
