"""The verbs that listen: ``start`` (with ``--wait``) and ``events``. Called by ``dispatch``."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from pytask_core.connection import SOCKET_TIMEOUT, outage
from pytask_core.loops import Backoff
from pytask_core.states import FINAL, TaskState

from .arguments import Options
from .output import Output, as_text
from .session import Session
from .verbs import parsed

#: Seconds between looks at the hash: a stop does not send an event, and events may be missed.
LOOK_INTERVAL = 1.0

#: Seconds of silence after which a connection is tested, and after as many more counts as lost. Longer costs less;
#: shorter misses fewer events of a node whose host has fallen silent.
HEALTH_CHECK = 4.0


class Feed:
    """Events of one channel or of all tasks, over lost connections.

    Args:
        client: a client without retries.
        channel: one task's channel, or None for all.
        pattern: matches the channels of all tasks.
        on_trouble: gets a sentence, once each time, when the connection is lost and cannot be made again at once.
    """

    def __init__(self, client: Any, channel: str | None, pattern: str, on_trouble: Callable[[str], None]) -> None:
        self._client = client
        self._channel = channel
        self._pattern = pattern
        self._on_trouble = on_trouble
        self._backoff = Backoff(first=0.1, most=2.0)
        self._pubsub: Any = None
        self._said = False
        #: When something last came, and whether a sign of life was asked for since.
        self._heard, self._asked = 0.0, False

    def open(self) -> None:
        """Subscribe, and return once the server has said so: nothing is missed from now on."""
        pubsub = self._client.pubsub()
        try:
            if self._channel is None:
                pubsub.psubscribe(self._pattern)
            else:
                pubsub.subscribe(self._channel)
            if pubsub.get_message(timeout=SOCKET_TIMEOUT) is None:
                raise RedisTimeout("no answer to SUBSCRIBE")
        except BaseException:
            pubsub.close()
            raise
        self._pubsub = pubsub
        self._heard, self._asked = time.monotonic(), False
        self._backoff.reset()
        self._said = False

    def close(self) -> None:
        """Unsubscribe."""
        if self._pubsub is not None:
            self._pubsub.close()
            self._pubsub = None

    def next(self, timeout: float) -> tuple[str, dict[str, Any]] | None:
        """The channel and content of the next event, or None after ``timeout`` seconds or trouble.

        What is not an event, such as a command on a control channel, is skipped.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._pubsub is None:
                    self.open()
                message = self._pubsub.get_message(timeout=min(left, self._until_check()))
                self._check(message is not None)
            except (RedisError, OSError) as error:
                self._mend(error)
                return None
            if message is not None and message["type"] in ("message", "pmessage"):
                event = parsed(message["data"])
                if isinstance(event, dict) and isinstance(event.get("event"), str):
                    return message["channel"], event
        return None

    def _until_check(self) -> float:
        return max(0.0, self._heard + HEALTH_CHECK * (2 if self._asked else 1) - time.monotonic())

    def _check(self, has_come: bool) -> None:
        """After a while of silence ask for a sign of life; after as long again the connection is lost.

        A host that falls silent does not close its connections: otherwise events would be missed until TCP gives up.
        """
        now = time.monotonic()
        if has_come:
            self._heard, self._asked = now, False
        elif self._until_check() <= 0:
            if self._asked:
                raise RedisTimeout(f"nothing came for {now - self._heard:.0f} s")
            self._asked = True
            self._pubsub.ping()

    def _mend(self, error: Exception) -> None:
        # A proxy that cuts silent connections does no harm as long as another connection can be made.
        was_cut = self._pubsub is not None and not isinstance(error, RedisTimeout)
        if not (was_cut or self._said):
            self._said = True
            self._on_trouble(f"the connection to Redis is lost ({outage(error) or error}); trying again")
        self.close()
        time.sleep(self._backoff.pause())


def start(session: Session, options: Options, output: Output) -> int:
    """Queue a task; with ``--wait``, follow it to its end."""
    # Chosen here, so that we can listen to its channel before it starts.
    task_id = str(uuid.uuid4()) if options.task_id is None else options.task_id
    feed = Feed(session.client, session.keys.task(task_id), "", output.complain)
    if not options.wait:
        _queue(session, options, task_id)
        if options.as_json:
            output.json({"id": task_id, "done": True})
        else:
            output.line(task_id)
        return 0
    feed.open()
    try:
        _queue(session, options, task_id)
        state, result = _wait(session, feed, task_id)
    except KeyboardInterrupt:
        output.complain(f"task {task_id} goes on")
        raise
    finally:
        feed.close()
    if state in FINAL:
        if options.as_json:
            output.json(result)
        else:
            output.text(as_text(result))
    if state != TaskState.SUCCESS:
        output.complain(f"task {task_id} ended as {state}")
    return 0 if state == TaskState.SUCCESS else 1


def events(session: Session, options: Options, output: Output) -> int:
    """Print events as they come, until Ctrl-C."""
    channel = session.keys.task(options.ids[0]) if options.ids else None
    feed = Feed(session.client, channel, session.keys.events_pattern, output.complain)
    try:
        feed.open()
        while True:
            found = feed.next(timeout=60.0)
            if found is None:
                continue
            task_id = found[0][len(session.keys.task_prefix) :]
            name, data = found[1]["event"], found[1].get("data")
            if options.as_json:
                output.json({"id": task_id, "event": name, "data": data})
            else:
                output.line(task_id, name, json.dumps(data))
                output.flush()
    except KeyboardInterrupt:
        return 0
    finally:
        feed.close()


def _queue(session: Session, options: Options, task_id: str) -> None:
    # By start_tasks, where the data may have keys that are arguments of start_task.
    spec = (options.task_name, options.data, task_id)
    session.helpers.start_tasks([spec], cleanup=options.cleanup)


def _wait(session: Session, feed: Feed, task_id: str) -> tuple[str, Any]:
    """The state in which the task ended, and its output; ``removed`` if it is gone without an event."""
    event: tuple[str, Any] | None = None
    unseen = 0
    while True:
        # The hash decides, for a task may emit "success" itself.
        found = _look(session, task_id)
        if found is None and event is not None:
            return event  # a Cleanup was quicker
        if found is not None and found[0] in {*FINAL, TaskState.STOPPED}:
            return found
        unseen = unseen + 1 if found is None else 0
        if unseen > 1:
            return "removed", None
        event = _last_event(feed, LOOK_INTERVAL)


def _last_event(feed: Feed, seconds: float) -> tuple[str, Any] | None:
    """The state and output in the event of an end, or None if it did not come."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        found = feed.next(left)
        # The event of an end is the state in small letters.
        if found is not None and found[1]["event"].upper() in FINAL:
            return found[1]["event"].upper(), found[1].get("data")
    return None


def _look(session: Session, task_id: str) -> tuple[str, Any] | None:
    """State and output as the hash has them; None without a hash; WAIT while Redis is away."""
    try:
        state, output, name = session.helpers.get_task(task_id, ["state", "output", "task"])
    except (RedisError, OSError):
        return TaskState.WAIT, None
    if not (state or name):
        return None
    return state or TaskState.WAIT, parsed(output or "null")
