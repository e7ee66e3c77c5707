"""``CoreConfig``: what an app was told, checked and complete. All rooms of its workers read it, and none changes it.

``PyTask`` takes the options from the user; :meth:`CoreConfig.of` fills in the defaults that depend on other options.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from .errors import PyTaskException
from .keys import RedisKeys
from .options import BYTES, COUNT, COUNT_OR_NO_BOUND, SECONDS, Rule, faults, option
from .policy.poison import PoisonRule

log = logging.getLogger("pytask")

#: Seconds that a task may wait for a worker that knows its name. What is longer is a mistake, or too much for Redis.
LONGEST_WAIT = 10 * 365 * 86_400

#: Renewals in one lease at least: one may be late and one may be lost.
RENEWALS = 4

#: The default seconds between two renewals, unless ``task_timeout`` is so short that there must be more.
INTERVAL = 5

#: Seconds that a worker has for its stop, where no second signal hurries it, beyond the ``stop_timeout`` of its tasks.
TO_LEAVE = 5

_WAIT = Rule(f"at most {LONGEST_WAIT} (ten years)", lambda value: bool(value <= LONGEST_WAIT))

Durability = Literal["async", "wait"]


@dataclass(frozen=True, kw_only=True)
class CoreConfig:
    """One configuration. See ``PyTask`` for what longer and shorter cost.

    A new option is one line here, and an argument of ``PyTask``.
    """

    keys: RedisKeys  #: the names in Redis
    concurrency: int = option(COUNT_OR_NO_BOUND)  #: tasks at once; local tasks do not count
    max_payload: int = option(BYTES)  #: of JSON that data, an output or an event may have
    task_timeout: float = option(SECONDS)  #: without a renewal, after which others take what a worker holds
    update_task_interval: float = option(SECONDS)  #: between renewals
    partition_grace: float = option(SECONDS)  #: that tasks run on without Redis
    stop_timeout: float = option(SECONDS)  #: that a task has to leave
    unknown_timeout: float = option(SECONDS, _WAIT)  #: after which a Monitor ends a task whose name no worker knows
    max_connections: int = option(COUNT)  #: that all tasks of a worker share
    cleanup_handlers: tuple[str, ...]  #: what a Cleanup that was started through Redis may call
    poison: PoisonRule  #: when a task that kills its workers is ended
    durability: str  #: ``async`` or ``wait``

    @classmethod
    def of(
        cls,
        *,
        task_timeout: float,
        update_task_interval: float | None,
        partition_grace: float | None,
        cleanup_handlers: Iterable[str],
        **others: Any,
    ) -> CoreConfig:
        """Return the configuration of an app that was given these options.

        Raises:
            ValueError: one makes no sense, or two do not fit each other.
        """
        _refuse(SECONDS, "task_timeout", task_timeout)
        interval = min(INTERVAL, task_timeout / RENEWALS) if update_task_interval is None else update_task_interval
        _refuse(SECONDS, "update_task_interval", interval)
        lease = task_timeout if partition_grace is not None else _stretched(task_timeout, interval)
        if isinstance(cleanup_handlers, str):
            raise ValueError(f"cleanup_handlers must be several names, such as ({cleanup_handlers!r},)")
        config = cls(
            task_timeout=lease,
            update_task_interval=interval,
            partition_grace=lease / 2 if partition_grace is None else partition_grace,
            cleanup_handlers=tuple(cleanup_handlers),
            **others,
        )
        config._check()
        return config

    def _check(self) -> None:
        for fault in faults(self):
            raise ValueError(str(fault))
        if self.partition_grace >= self.task_timeout:
            raise ValueError(
                f"partition_grace={self.partition_grace:g} must be less than task_timeout={self.task_timeout:g}, or a "
                "task could run in two workers"
            )
        if self.update_task_interval * 2 > self.partition_grace:
            raise ValueError(
                f"update_task_interval={self.update_task_interval:g} must be at most half of "
                f"partition_grace={self.partition_grace:g}, or a single late renewal stops all tasks"
            )

    @property
    def graceful_timeout(self) -> float:
        """Seconds that the stop of a worker may take in all, unless its maker says otherwise."""
        return self.stop_timeout + TO_LEAVE

    @property
    def replicas(self) -> int:
        """How many replicas must have a write before it counts."""
        return replicas_for(self.durability)


def _stretched(task_timeout: float, interval: float) -> float:
    """Return a lease in which one late renewal does not stop all tasks."""
    lease = max(task_timeout, RENEWALS * interval)
    if lease != task_timeout:
        log.info(
            "update_task_interval=%g is more than a quarter of task_timeout=%g, which stretches to %g s",
            interval,
            task_timeout,
            lease,
        )
    return lease


def _refuse(rule: Rule, name: str, value: Any) -> None:
    if not rule.holds(value):
        raise ValueError(f"{name} must be {rule.words}, not {value!r}")


def replicas_for(durability: str) -> int:
    """Return how many replicas must confirm a write.

    Raises:
        PyTaskException: ``durability`` is neither ``'async'`` nor ``'wait'``.
    """
    if durability not in {"async", "wait"}:
        raise PyTaskException(f"durability must be 'async' or 'wait', not {durability!r}")
    return int(durability == "wait")
