"""Makes a ``PyTask`` from what the user named: ``module:attribute``, or modules full of tasks.

Called by ``worker.run_child`` in each child, after gevent has patched. Whatever goes wrong in the
user's code becomes a ``LoadError``: one sentence that names the thing.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from pytask_core import Cleanup, Monitor, PyTask, Task
from pytask_core.errors import PyTaskException, RedisRefused
from pytask_supervisor.config.options import TASKS_ONLY, SupervisorConfig
from pytask_supervisor.shared.exits import Exit, LoadError


def forbid_run() -> None:
    """A module that calls ``run`` when it is imported would run its tasks here, in the midst of being loaded."""
    PyTask.run_by = "pytask-supervisor"


def load_app(config: SupervisorConfig, folder: str) -> tuple[PyTask, list[str]]:
    """The app, and warnings about options that it overrules. ``folder`` is first on the path."""
    sys.path[:] = [folder, *(entry for entry in sys.path if entry not in ("", folder))]
    if config.app is not None:
        app = _named_app(config.app)
        warnings = _overruled(config, app)
    else:
        app = _tasks_app(config)
        warnings = []
    if "hang_timeout" in config.given and config.hang_timeout >= app.task_timeout:
        warnings.append(
            f"--hang-timeout {config.hang_timeout:g} is not below the app's task_timeout {app.task_timeout:g}: a "
            "Monitor gives the tasks of a worker that hangs away before that is killed"
        )
    if config.concurrency is not None:
        app.concurrency = config.concurrency
    return app, warnings


def missing_keepers(app: PyTask) -> list[str]:
    """A warning where an app can run no Monitor or no Cleanup, and what follows from that."""
    follows: dict[type[Monitor | Cleanup], str] = {
        Monitor: "tasks of a host that is lost are not run again",
        Cleanup: "ended tasks stay in Redis and fill its memory",
    }
    missing = [
        keeper
        for keeper in follows
        if keeper.NAME not in app.task_classes and not any(issubclass(one, keeper) for one in app.task_classes.values())
    ]
    if not missing:
        return []
    names = [keeper.__name__ for keeper in missing]
    lacks = f"neither {' nor '.join(names)}" if len(names) > 1 else f"no {names[0]}"
    follow = " and ".join(follows[keeper] for keeper in missing)
    starts = " and ".join(f"app.start_local_task({keeper.NAME!r})" for keeper in missing)
    remedy = f"app.add_tasks({', '.join(names)}) and {starts} mend it"
    return [f"the app has {lacks} among its tasks, so {follow}, unless another app on this Redis does that; {remedy}"]


def _named_app(name: str) -> PyTask:
    module_name, _, attribute = name.partition(":")
    found: Any = _import(module_name)
    for part in attribute.split("."):
        found = _attribute(found, part, name)
    if callable(found) and not isinstance(found, PyTask | type):
        try:
            found = found()
        except Exception as error:
            raise _broken(f"{name}() failed", error) from error
        name += "()"
    if not isinstance(found, PyTask):
        what = f"the class {found.__name__}" if isinstance(found, type) else _a(type(found))
        raise LoadError(f"{name} is {what}; --app needs a PyTask, or a function that returns one")
    return found


def _tasks_app(config: SupervisorConfig) -> PyTask:
    classes: dict[str, type[Task]] = {Monitor.NAME: Monitor, Cleanup.NAME: Cleanup}
    for module_name in config.tasks:
        for task_class in _task_classes(_import(module_name)):
            known = classes.setdefault(task_class.NAME, task_class)
            if known is not task_class:
                raise LoadError(f"two tasks are named {task_class.NAME!r}: {_path(known)} and {_path(task_class)}")
    try:
        app = PyTask(
            task_set=config.task_set,
            task_prefix=config.task_prefix,
            new_queue=config.new_queue,
            end_queue=config.end_queue,
            task_timeout=config.task_timeout,
            # The core's own ratio: two renewals may fail before tasks are given up.
            update_task_interval=min(5.0, config.task_timeout / 4),
            unknown_timeout=config.unknown_timeout,
        )
    except Exception as error:
        raise _broken("cannot set up the tasks", error) from error
    try:
        app.add_tasks(*classes.values())
    except PyTaskException as error:
        raise LoadError(str(error)) from error
    app.start_local_task(Monitor.NAME)
    app.start_local_task(Cleanup.NAME, retention=config.retention)
    return app


def _task_classes(module: ModuleType) -> Iterable[type[Task]]:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Task)
        and getattr(value, "NAME", None)
        # What is there for others to build upon is not meant to be run.
        and not inspect.isabstract(value)
    ]
    if not found:
        raise LoadError(f"module {module.__name__} has no task: no subclass of Task with a NAME")
    return found


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            raise LoadError(f"there is no module {missing} in {sys.path[0]} or on the path") from error
        raise _broken(f"importing {name} failed", error) from error
    except BaseException as error:
        raise _broken(f"importing {name} failed", error) from error


def _attribute(owner: Any, name: str, path: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        names = vars(owner) if hasattr(owner, "__dict__") else dir(owner)
        near = difflib.get_close_matches(name, names, n=1)
        near = near or [key for key in names if isinstance(getattr(owner, key, None), PyTask)]
        hint = f"; did you mean {near[0]}?" if near else ""
        raise LoadError(f"{path}: there is no {name} in {_a_name(owner)}{hint}") from error


def _broken(what: str, error: BaseException) -> LoadError:
    """One sentence with the place in the user's code where it happened."""
    if isinstance(error, RedisRefused):
        return LoadError(str(error), code=Exit.REFUSED)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename != importlib.__file__
    ]
    if isinstance(error, SyntaxError):
        where = f" at {error.filename}:{error.lineno}"
        said = f"{type(error).__name__}: {error.msg}"
    else:
        inner = frames[1:]  # The first is ours.
        own = [frame for frame in inner if Path(sys.path[0]) in Path(frame.filename).parents]
        inner = own or inner
        where = f" at {inner[-1].filename}:{inner[-1].lineno}" if inner else ""
        said = " ".join(traceback.format_exception_only(error)[-1].split())
    return LoadError(f"{what}{where}: {said}", "".join(traceback.format_exception(error)))


def _overruled(config: SupervisorConfig, app: PyTask) -> list[str]:
    warnings = []
    if config.redis is not None and app.redis_given:
        warnings.append(f"--redis is not used: {config.app} names its own Redis")
    vain = [f"--{name.replace('_', '-')}" for name in TASKS_ONLY if name in config.given]
    if vain:
        warnings.append(f"{' '.join(vain)}: not used, {config.app} has its own settings")
    return warnings


def _a(kind: type) -> str:
    if kind is type(None):
        return "None"
    return f"{'an' if kind.__name__[:1].lower() in 'aeiou' else 'a'} {kind.__name__}"


def _a_name(owner: Any) -> str:
    return getattr(owner, "__name__", None) or _a(type(owner))


def _path(task_class: type) -> str:
    return f"{task_class.__module__}.{task_class.__qualname__}"
