"""From a verb to its function, and from an error to its sentence.

Called by ``main``, once the words make sense. It reads and writes no task.
"""

from __future__ import annotations

from collections.abc import Callable

from redis.exceptions import RedisError

from pytask_core.connection import outage
from pytask_core.embedded import EmbeddedError, running_server, socket_path
from pytask_core.errors import PyTaskException

from . import follow, verbs
from .options import Options
from .output import Output
from .session import Session

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
        if options.redis.partition(":")[0] == "embedded":
            _find_embedded(options.redis)
        with Session(options) as session:
            return VERBS[options.verb](session, options, output)
    except BrokenPipeError:
        raise  # our reader's, not Redis's: redis-py has errors of its own
    except (PyTaskException, EmbeddedError, ValueError) as error:
        output.complain(str(error))
    except (RedisError, OSError) as error:
        words = outage(error)
        output.complain(f"cannot use Redis at {options.redis}: {words}" if words else f"Redis says: {error}")
    return 1


def _find_embedded(url: str) -> None:
    """Raise ``EmbeddedError`` where no embedded server runs: pytaskctl never starts one."""
    path = socket_path(url.partition(":")[2] or None)
    if running_server(path) is None:
        raise EmbeddedError(f"no embedded server runs at {path}; pytask-supervisor --redis {url} starts one")
