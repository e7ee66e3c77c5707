"""``Means``: what a worker gives to the services that it runs for the whole system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gevent.lock import Semaphore

from ..connection.link import RedisLink
from ..store import KeeperStore


@dataclass(frozen=True)
class Means:
    """Those of one worker."""

    worker: str  #: its id
    keeper: KeeperStore
    link: RedisLink
    new_client: Callable[[str], Any]  #: with a connection of its own, under a name, for takes that block
    #: Held by a Cleanup while it deals with what it has collected: all of one worker share one list.
    cleaning: Semaphore = field(default_factory=Semaphore)
