"""The last look at a server whose workers have all left: its log against the ledger, and what is still on it.

Called by ``stage`` after a soak and by the fault tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from pytask_core.keys import RedisKeys
from tests.soak import aof
from tests.soak.checker import Report, check, differences
from tests.soak.ledger import Record
from tests.soak.replay import Replay
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until


def judge(records: Sequence[Record], server: RedisServer) -> Report:
    """What the checker finds, and besides: connections, subscriptions, and whether log and server agree."""
    left: list[dict[str, str]] = []
    with suppress(AssertionError):
        wait_until(lambda: not left.clear() and not left.extend(server.other_clients()) and not left, 3)
    client = server.client(decode_responses=True, encoding_errors="surrogateescape")
    patterns = client.execute_command("PUBSUB", "NUMPAT")
    found = _dump(client)
    replay = Replay(RedisKeys()).feed(aof.transactions(server.dir))
    report = check(list(records), replay)
    report.blame("connections left", [f"{each['name'] or each['id']} {each['cmd']}" for each in left])
    report.blame("subscriptions left", ["to a pattern"] * patterns)
    report.blame("differences of the replay and the server", differences(replay, found))
    return report


def _dump(client: Any) -> dict[str, object]:
    """Everything that a server holds, as the replay would have it."""
    return {key: _READ[client.type(key)](client, key) for key in client.scan_iter(count=1000)}


_READ: dict[str, Callable[[Any, str], object]] = {
    "string": lambda client, key: client.get(key),
    "hash": lambda client, key: client.hgetall(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "set": lambda client, key: client.smembers(key),
    "zset": lambda client, key: {each: f"{score:.0f}" for each, score in client.zrange(key, 0, -1, withscores=True)},
}
