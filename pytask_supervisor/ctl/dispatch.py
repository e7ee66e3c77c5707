"""From a verb to its function, and from an error to its sentence.

Called by ``main``, once the words make sense. It reads and writes no task.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from redis.exceptions import RedisError

from pytask_core.connection import misplaced, outage
from pytask_core.embedded.cluster import find_running
from pytask_core.embedded.server import EmbeddedError, running_server, socket_path
from pytask_core.errors import PyTaskException
from pytask_supervisor.shared.redact import shown_url

from . import follow, verbs
from .arguments import Options
from .output import Output
from .session import Session

#: What refuses, or cannot be reached.
TROUBLE = (PyTaskException, EmbeddedError, ValueError, RedisError, OSError)

Verb = Callable[[Session, Options, Output], int]

VERBS: dict[str, Verb] = {
    "start": follow.start,
    "stop": verbs.stop,
    "restart": verbs.restart,
    "reload": verbs.reload,
    "remove": verbs.remove,
    "list": verbs.list_tasks,
    "show": verbs.show,
    "events": follow.events,
    "queues": verbs.queues,
}


def run_verb(options: Options, output: Output) -> int:
    """Do it and return the exit code; what is refused becomes one sentence and a 1."""
    try:
        with _session(options) as session:
            return VERBS[options.verb](session, options, output)
    except BrokenPipeError:
        raise  # our reader's, not Redis's: redis-py has errors of its own
    except TROUBLE as error:
        output.complain(_words(error, options))
    return 1


def run_top(options: Options, output: Output) -> int:
    """Show the live table; it goes on without the queues where Redis cannot be used."""
    from .top import top  # noqa: PLC0415 - rich loads slowly

    with ExitStack() as stack:
        sessions: list[Session] = []

        def count_queues() -> dict[str, int] | str:
            try:
                if not sessions:
                    sessions.append(stack.enter_context(_session(options)))
                return sessions[0].helpers.queue_lengths()
            except TROUBLE as error:
                return _words(error, options)

        return top(options, output, count_queues)


def _session(options: Options) -> Session:
    _find_embedded(options.redis)
    return Session(options)


def _words(error: Exception, options: Options) -> str:
    if not isinstance(error, RedisError | OSError):
        return str(error)
    # Without its options: a password among them hides what follows.
    where = shown_url(options.redis).partition("?")[0]
    if (words := misplaced(error)) is not None:
        return f"Redis at {where} {words}"
    words = outage(error)
    return f"cannot use Redis at {where}: {words}" if words else f"Redis says: {error}"


def _find_embedded(url: str) -> None:
    """Raise ``EmbeddedError`` where no embedded server runs: pytaskctl never starts one."""
    scheme, _, directory = url.partition(":")
    if scheme == "embedded-cluster":
        find_running(directory or None)
    if scheme != "embedded":
        return
    path = socket_path(directory or None)
    if running_server(path) is None:
        raise EmbeddedError(f"no embedded server runs at {path}; pytask-supervisor --redis {url} starts one")
