"""Where tasks stand: whose code a frame belongs to, and the stacks of all tasks, with their ids.

Nothing is noted while tasks run; the task is read off the frames of the executor's own functions. A supervisor
calls this, from its hub or, while that is blocked, from a native thread.
"""

from __future__ import annotations

import gc
import linecache
import logging
from collections.abc import Mapping
from types import FrameType

import gevent

from ..middleware import Chain
from .execution import Execution
from .executor import Executor
from .pipeline import Pipeline
from .stopping import Stopper

#: File, line, function; the innermost first.
Stack = tuple[tuple[str, int, str], ...]

#: Functions whose variable ``execution`` tells which task runs inside.
_RUNNERS = {Executor._live.__code__, Stopper._guarded.__code__}

#: Files whose frames tell a reader nothing.
_OURS = {code.co_filename for code in (*_RUNNERS, Pipeline.run.__code__, Chain.around.__code__)}

#: Frames of a stack that are kept: what lies deeper says little, and endless recursion has very many.
MOST_FRAMES = 60


def task_of(frame: FrameType | None, tasks: Mapping[str, Execution]) -> Execution | None:
    """The task in whose code a frame of the main thread is, that of a greenlet that it has spawned included.

    Args:
        frame: where the main thread is now.
        tasks: those of the worker.
    """
    while frame is not None:
        if frame.f_code in _RUNNERS:
            execution = frame.f_locals.get("execution")
            return execution if isinstance(execution, Execution) else None
        frame = frame.f_back
    return _spawner_of_current(tasks)


def _spawner_of_current(tasks: Mapping[str, Execution]) -> Execution | None:
    """Climb from the greenlet that runs now to the task that has spawned it."""
    by_greenlet = {id(execution.greenlet): execution for execution in list(tasks.values())}
    # Only the one that runs has begun, is alive, and has no frame to go on with.
    greenlets = [one for one in gc.get_objects() if issubclass(type(one), gevent.Greenlet)]
    for greenlet in greenlets:
        if not greenlet or greenlet.gr_frame is not None:
            continue
        climber = greenlet
        while climber is not None:
            if id(climber) in by_greenlet:
                return by_greenlet[id(climber)]
            spawner = getattr(climber, "spawning_greenlet", None)
            climber = spawner() if spawner is not None else None
    return None


def where(frame: FrameType | None, most: int = MOST_FRAMES) -> Stack:
    """A stack as names and numbers, without the executor's own frames, the innermost first."""
    found: list[tuple[str, int, str]] = []
    while frame is not None and len(found) < most and frame.f_code not in _RUNNERS:
        if frame.f_code.co_filename not in _OURS:
            found.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(found)


def stacks(tasks: Mapping[str, Execution], current: FrameType | None) -> dict[Stack, list[Execution]]:
    """Where all tasks stand, those that stand at the same place together.

    Args:
        tasks: those of the worker.
        current: where the main thread is now, for the task that runs just now.
    """
    found: dict[Stack, list[Execution]] = {}
    running = task_of(current, tasks)
    for execution in list(tasks.values()):
        frame = current if execution is running else None
        # One that has not begun or has ended is as good as none, and false.
        if frame is None and execution.greenlet:
            frame = execution.greenlet.gr_frame
        found.setdefault(where(frame), []).append(execution)
    return found


def _waits_to_log(stack: Stack) -> bool:
    """Whether it stands where ``logging`` takes a lock, which is never for long unless something is wrong."""
    # The lock itself may be written in Python, and stand before it.
    return any(
        file == logging.__file__ and name in {"acquire", "handle", "_acquireLock"} and stack[0][2] in {name, "acquire"}
        for file, _line, name in stack[:3]
    )


def tell(stack: Stack, entries: list[Execution]) -> str:
    """A few lines for the log: which tasks, and where they stand, the innermost last as in a traceback."""
    names = ", ".join(f"{execution.id!r} ({execution.name})" for execution in entries)
    what = f"Task {names} stands" if len(entries) == 1 else f"{len(entries)} tasks stand: {names}"
    if not stack:
        return (
            f"{what} nowhere: not begun, or ended" if len(entries) == 1 else f"{what}\n  nowhere: not begun, or ended"
        )
    lines = [f"{what} at"] if len(entries) == 1 else [f"{what}, at"]
    if _waits_to_log(stack):
        lines[0] = f"{what} and wait{'s' if len(entries) == 1 else ''} for a lock of logging, which another holds, at"
    for file, line, name in reversed(stack):
        lines.append(f"  {file}:{line} in {name}")
        code = linecache.getline(file, line).strip()
        if code:
            lines.append(f"    {code}")
    return "\n".join(lines)
