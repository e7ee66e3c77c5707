"""``Task``: what users subclass. The runner makes instances, binds them to their worker and calls them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .errors import PyTaskException

if TYPE_CHECKING:
    from .helpers import PyTaskHelpers
    from .worker.worker import Worker

#: Characters that a task's name may have. It stands in keys and in many lines of logs, and no person types more.
LONGEST_NAME = 500

_NO_CONTEXT: AbstractContextManager[None] = nullcontext()


@dataclass(frozen=True, slots=True)
class Tools:
    """What all tasks of one worker are given."""

    redis: Any
    helpers: PyTaskHelpers
    worker: Worker


@dataclass(frozen=True, slots=True, eq=False)
class Bond:
    """What ties an instance to the worker that runs it: the one thing of ours that an instance holds."""

    id: str
    emit: Callable[[str, Any], None]
    tools: Tools


class _Given:
    """What the worker gives a task under a name, where the class and the instance have nothing of their own there."""

    def __init__(self, find: Callable[[Bond], Any]) -> None:
        self._find = find

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, task: Task | None, owner: type) -> Any:
        if task is None:
            return self
        if task.__pytask__ is None:
            raise AttributeError(f"a {owner.__name__} has {self._name!r} only while a worker runs it, or if you set it")
        return self._find(task.__pytask__)


class Task:
    """A task: subclass it, name it, and write ``start``.

    ``id``, ``emit``, ``redis`` and ``helpers`` work in ``__init__`` already. All methods run inside
    :meth:`provide_context`.

    Args:
        data: a task's ``__init__`` takes its data as keyword arguments. Data travels as JSON.
    """

    #: The name by which tasks of this class are started. Namespace it, such as ``mail/send``.
    NAME: ClassVar[str]

    # Names of ours are few, and each gives way to the same name in a subclass or an instance.
    if TYPE_CHECKING:
        #: The id of this task.
        id: str
        #: A Redis client that all tasks of the worker share. A thousand tasks queue for its few connections.
        redis: Any
        #: The worker's helpers, to start and stop other tasks.
        helpers: PyTaskHelpers
        #: The id, as programs for the original know it.
        _id: str
    else:
        id = _id = _Given(lambda bond: bond.id)
        redis = _Given(lambda bond: bond.tools.redis)
        helpers = _Given(lambda bond: bond.tools.helpers)

    #: The runner's own, and the only name besides the documented ones.
    __pytask__: Bond | None = None

    class Error(Exception):
        """Raise it where the task fails in a way you expect: the task ends as ``ERROR`` with the message as output."""

    def __init__(self, /, **data: Any) -> None:
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
        if self.__pytask__ is None:
            raise PyTaskException("a task can emit only while a worker runs it")
        self.__pytask__.emit(event, data)


def of_class(task_class: type, name: str, default: Any = None) -> Any:
    """Return what a class, or its nearest base that has the name, has there; no descriptor of the user's is called."""
    return next((vars(base)[name] for base in task_class.__mro__ if name in vars(base)), default)
