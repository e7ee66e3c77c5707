"""``Task``: what users subclass. The runner makes instances, binds them to their worker and calls them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from .errors import PyTaskException

if TYPE_CHECKING:
    from .helpers import PyTaskHelpers

_NO_CONTEXT: AbstractContextManager[None] = nullcontext()


class Task:
    """A task: subclass it, name it, and write ``start``.

    ``id``, ``emit``, ``redis`` and ``helpers`` work in ``__init__`` already. All methods run inside
    :meth:`provide_context`.

    Args:
        data: a task's ``__init__`` takes its data as keyword arguments. Data travels as JSON.
    """

    #: The name by which tasks of this class are started. Namespace it, such as ``mail/send``.
    NAME: ClassVar[str]

    #: The id of this task.
    id: str
    #: A Redis client, shared by all tasks of the worker. Yours to use; a thousand tasks queue for its few connections.
    redis: Any
    #: The worker's helpers, to start and stop other tasks.
    helpers: PyTaskHelpers

    _emit: Callable[[str, Any], None] | None = None
    _worker: Any = None

    class Error(Exception):
        """Raise it where the task fails in a way you expect: the task ends as ``ERROR`` with the message as output."""

    def __init__(self, **data: Any) -> None:
        """Take the task's data; override it with the keyword arguments you want."""

    def start(self) -> Any:
        """Do the work. The task ends when this returns; what it returns is the output (anything JSON can carry).

        Raises:
            Task.Error: to end as ``ERROR``. Anything else that is raised ends the task as ``EXCEPTION``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no start method")

    def stop(self) -> None:
        """Wind up: called when the task is to stop, before ``StopTask`` is thrown into :meth:`start`.

        It runs in a greenlet of its own, beside ``start`` and never before that has begun, and has ``stop_timeout``
        seconds. Tasks that need no winding up leave it out.
        """

    @staticmethod
    def provide_context() -> AbstractContextManager[Any]:
        """Return the context manager inside which all methods of the task run, such as a Flask ``app_context()``.

        It is entered before the instance is made, in the task's own greenlet; ``stop`` sees the same context variables.
        """
        return _NO_CONTEXT

    def emit(self, event: str, data: Any = None) -> None:
        """Publish an event on the task's channel.

        Never blocks for Redis: while it is away events are dropped, counted, and one warning is logged.

        Args:
            event: its name.
            data: anything JSON can carry.

        Raises:
            InvalidTask: JSON cannot carry it.
            PayloadTooLarge: it is larger than ``max_payload``.
        """
        if self._emit is None:
            raise PyTaskException("a task can emit only while a worker runs it")
        self._emit(event, data)
