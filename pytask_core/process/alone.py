"""``go_on_alone``: in a process that a task forks, only the greenlet that forked goes on.

Neither our rooms nor other tasks run there, and the end of that greenlet is the end of the process. The others are not
ended, which would tidy up what the tasks of the parent still use, and not let go, which would end them.
"""

from __future__ import annotations

import gc
from typing import Any

import gevent
from gevent.hub import LoopExit
from greenlet import greenlet  # type: ignore[import-untyped]

from .forks import end_copy

#: Watchers of the loop by which greenlets wait. The others are the loop's own, or hear signals for the user.
_WAITING = {"io", "timer", "idle", "stat", "child"}


def go_on_alone() -> None:
    """Leave all greenlets behind but the one that runs."""
    hub, own = gevent.get_hub(), gevent.getcurrent()
    loop, behind = hub.loop, list[Any]()
    watchers = tuple(each for each in type(loop.timer(0)).__mro__ if each.__name__ == "watcher")
    gc.unfreeze()
    for thing in gc.get_objects():
        # By its type: what stands for something else answers for it when it is asked itself, or raises.
        kind = type(thing)
        if issubclass(kind, greenlet):
            behind.append(thing)
        elif issubclass(kind, watchers) and kind.__name__ in _WAITING and (thing.active or thing.pending):
            _leave_behind(thing, own, behind)
    for callback in list(loop._callbacks):
        _leave_behind(callback, own, behind)
    # Where gevent does not do so itself, as ahead of ``preexec_fn``, both processes would change one set of events.
    gevent.reinit(hub)
    # In a worker a SystemExit ends a task; here it is for the process.
    hub.SYSTEM_ERROR = type(hub).SYSTEM_ERROR
    if own is not hub.parent:
        keeper = greenlet(_await_end, hub.parent)
        keeper.switch(own, behind)
        hub.parent = keeper


def _leave_behind(waiting: Any, own: greenlet, behind: list[Any]) -> None:
    callback, args = waiting.callback, waiting.args
    if callback is None or _is_for(own, callback, args):
        return  # such as a timeout that the forking greenlet has set
    behind += [callback, args]
    waiting.stop()


def _is_for(own: greenlet, callback: Any, args: Any) -> bool:
    """Whether a callback of the loop concerns a greenlet."""
    return getattr(callback, "__self__", None) is own or any(arg is own for arg in args or ())


def _await_end(own: greenlet, _behind: list[Any]) -> None:
    """Stand where the main greenlet stood: here the loop ends when nothing is left to do, or a SystemExit does."""
    try:
        own.switch()
    except LoopExit as error:
        end_copy(None if own.dead else error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the process ends
        end_copy(error)
    end_copy()
