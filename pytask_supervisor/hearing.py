"""``Hearing``: what children say, and what it means beyond the child that says it."""

from __future__ import annotations

import logging

from pytask_supervisor.channel import Message
from pytask_supervisor.child import Child
from pytask_supervisor.deaths import Deaths
from pytask_supervisor.logs import counted
from pytask_supervisor.orders import HandBackOrders
from pytask_supervisor.tally import Tally

log = logging.getLogger("pytask.supervisor")


class Hearing:
    """Takes in whatever has come; never waits."""

    def __init__(self, deaths: Deaths, orders: HandBackOrders, tally: Tally) -> None:
        self._deaths = deaths
        self._orders = orders
        self._tally = tally
        self._warnings: set[str] = set()

    def listen(self, child: Child) -> None:
        """Take all that this child has said."""
        for message in (*child.channel.receive(), *child.wire.receive()):
            try:
                child.hear(message)
                self._act_on(message)
            except (AttributeError, KeyError, TypeError, ValueError):
                log.warning("%s said what is no message: %r", child, message)

    def warn_once(self, warning: str) -> None:
        """What each of many workers finds is told once."""
        if warning not in self._warnings:
            self._warnings.add(warning)
            log.warning("%s", warning)

    def _act_on(self, message: Message) -> None:
        if "ready" in message:
            self._deaths.was_ever_ready = True
        elif "tally" in message:
            self._tally.add(message["tally"])
        elif "queues" in message:
            self._tally.queues = {str(queue): int(length) for queue, length in message["queues"].items()}
        elif "handed_back" in message:
            whose = self._orders.confirm(message["handed_back"])
            if whose is not None:
                level = logging.INFO if message["count"] else logging.DEBUG
                log.log(level, "back in the queue: %s of %s", counted(message["count"], "task"), whose)
        elif "warning" in message:
            self.warn_once(message["warning"])
