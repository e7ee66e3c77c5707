"""``Registration``: makes a worker known to Redis: at its start, and each time that Redis is back."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from ...connection import RedisSource, check_server, knock, outage, refusal
from ...errors import RedisRefused
from ...keys import RedisKeys
from ...loops import Backoff

if TYPE_CHECKING:
    from ...store import WorkerStore

log = logging.getLogger("pytask.worker")


class Registration:
    """One worker's.

    Args:
        source: how Redis is reached.
        client: the store's.
        store: the worker's.
        keys: the names of the system.
        names: of the task classes that the worker knows, as they are when it registers.
    """

    def __init__(
        self, source: RedisSource, client: Any, store: WorkerStore, keys: RedisKeys, names: Iterable[str]
    ) -> None:
        self._source = source
        self._client = client
        self._store = store
        self._keys = keys
        self._names = names

    def wait_until_done(self, stop: Event) -> bool:
        """Wait until Redis answers and knows the worker; return False where a stop was asked for meanwhile.

        Raises:
            RedisRefused: Redis does not let us in, or is too old.
        """
        backoff, is_said = Backoff(), False
        while not stop.is_set():
            try:
                if is_said:
                    knock(self._client)
                self._check()
                return True
            except Exception as error:
                refused, why = refusal(error), outage(error)
                where = self._source.describe()
                if refused is not None:
                    raise RedisRefused(f"Redis at {where} refuses us: {refused}") from error
                if why is None:
                    raise
                if not is_said:
                    is_said = True
                    log.warning("Redis at %s cannot be reached: %s. Trying until it can", where, why)
                stop.wait(backoff.pause())
        return False

    def _check(self) -> None:
        for warning in check_server(self._client, self._source.describe()):
            log.warning("%s", warning)
        self._store.register(self._names)
        for warning in self._store.rehearse():
            log.warning("%s", warning)
        # The names of channels begin with this one.
        if self._source.database and self._keys.task_prefix == RedisKeys.task_prefix:
            log.warning(
                "Pub/sub knows no databases: a system with the same task_prefix on another database than %s hears the "
                "stops, reloads and events of this one. Give each names of its own",
                self._source.describe(),
            )

    def renew(self) -> None:
        """See whether Redis will have us again: registers too, since it may have forgotten us."""
        knock(self._client)
        self._store.register(self._names)
        self._store.rehearse()
