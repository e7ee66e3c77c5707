"""``CommandListener``: listens on the tasks' control channels and passes commands to the executor.

One pattern for all tasks, so that a task costs no subscription. A message is only a nudge: commands of the helpers
stand in the hash too, and the heartbeat finds those whose message was missed.
"""

from __future__ import annotations

import logging
from typing import Any

import gevent

from ..connection import is_answer
from ..connection.complaints import Complaints
from ..connection.link import RedisLink, ServerError, Unreachable
from ..keys import RedisKeys
from ..loops import Backoff
from ..process.greenlets import keep
from ..process.service import Bell, Service
from ..states import Command, Reason
from ..store.worker import FILLED
from .claiming.nudges import Nudges
from .executor import Executor
from .leasing.heartbeat import Heartbeat

log = logging.getLogger("pytask.control")

#: Seconds of silence after which the connection is tried; after as many more it counts as dead, and is replaced.
HEALTH_CHECK = 10


#: Messages that are dealt with until others have their turn.
IN_A_ROW = 50

#: Refusals in a row until the log tells of them: some two seconds.
TRIES = 6


class CommandListener(Service):
    """The listener.

    Args:
        client: a Redis client of its own.
        keys: the names of the system.
        executor: whose tasks.
        link: whether Redis can be reached.
        nudges: told that the inbox of this worker was filled, or may have been.
        heartbeat: looks at tasks for which commands may be recorded.
    """

    def __init__(
        self,
        client: Any,
        keys: RedisKeys,
        executor: Executor,
        link: RedisLink,
        nudges: Nudges,
        heartbeat: Heartbeat,
    ) -> None:
        super().__init__()
        self._client = client
        self._keys = keys
        self._executor = executor
        self._link = link
        self._nudges = nudges
        self._heartbeat = heartbeat
        #: Tokens by id of the tasks that are to be looked at.
        self._asked: dict[str, str] = {}
        self._bell = Bell(lambda: self._asked)
        self._backoff = Backoff()
        #: Times in a row that the channels could not be subscribed to.
        self._failures = 0

    def start(self) -> None:
        """Listen, and look after what was heard; returns at once."""
        super().start()
        # One greenlet for all tasks, and so one connection: renewals have the others.
        self.greenlets.add(keep(self.look_after))

    def run(self) -> None:
        """Listen for ever."""
        bug = "The control channels cannot be read; trying again in a second"
        self._link.serve(self.turn, Complaints(log, bug=bug))

    def turn(self) -> None:
        """Listen until the connection is lost."""
        try:
            # Another node of a cluster, or another master, may serve us as well: the parts that wait for
            # answers of Redis say whether it is away.
            with self._link.guard(tell=False):
                self._listen()
        except (Unreachable, ServerError) as error:
            self._failures += 1
            # Of an outage others tell, though perhaps a little later. A refusal of this alone would go unheard.
            is_alone = self._link.up and error.__cause__ is not None and is_answer(error.__cause__)
            is_news = is_alone and self._failures == TRIES
            log.log(
                logging.WARNING if is_news else logging.DEBUG,
                "The control channels cannot be read: %s. Commands are found by the next renewal until they can",
                error,
            )
            gevent.sleep(self._backoff.pause())

    def _listen(self) -> None:
        pubsub = self._client.pubsub()
        try:
            pubsub.psubscribe(self._keys.control_pattern)
            silent = heard = 0
            while silent < HEALTH_CHECK * 2:
                message = pubsub.get_message(timeout=1)
                if message is not None:
                    silent, heard = 0, heard + 1
                    if heard % IN_A_ROW == 0:
                        gevent.sleep(0)  # What has come already is read without a pause.
                    if message["type"] == "psubscribe":
                        self._failures = 0
                        self._backoff.reset()
                        self._nudges.fill()  # What came until now has been missed.
                    elif message["type"] == "pmessage":
                        self.obey(message["channel"], message["data"])
                    continue
                silent += 1
                if silent == HEALTH_CHECK:
                    pubsub.ping()
            log.debug("The control channels have gone silent; they are subscribed to again")
        finally:
            pubsub.close()

    def obey(self, channel: str, word: str) -> None:
        """Pass a command on to the task it is for, if that runs here, or a nudge if it is for this worker."""
        if channel == self._nudges.channel:
            if word == FILLED:
                self._nudges.fill()
            return
        task_id = self._keys.id_of_control(channel)
        entry = self._executor.tasks.get(task_id)
        if entry is None:
            return
        word, _, token = word.partition(" ")
        if word not in {Command.STOP, Command.RELOAD}:
            # The events of a task whose id ends in -control arrive here too.
            log.debug("The control channel %r says %r, which is no command", channel, word)
            return
        if token:
            # From the helpers, who have recorded it and name the run they mean: one that comes late, when it is done
            # already or for an earlier run, finds nothing recorded.
            # However many come, each task is looked at once a round trip.
            if entry.token == token:
                self._asked[task_id] = token
                self._bell.ring()
            return
        if entry.leaving in {None, Reason.RELOAD} and entry.leaving != word:
            log.info("Task %r is told to %s", task_id, word)
        self._executor.ask(task_id, Reason(word))

    def look_after(self) -> None:
        """Look at the tasks for which commands may be recorded, for ever: all that have gathered, one after another."""
        while True:
            self._bell.wait()
            asked, self._asked = self._asked, {}
            self._heartbeat.look(asked)
