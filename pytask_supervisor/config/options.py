"""``SupervisorConfig``: each option is declared here, once, for flag, environment and file.

``settings.py`` fills it. A field's name gives the flag (``--graceful-timeout``), the variable
(``PYTASK_GRACEFUL_TIMEOUT``) and the key in ``[tool.pytask-supervisor]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from pytask_core.keys import RedisKeys
from pytask_core.redis_url import EMBEDDED
from pytask_supervisor.config import types


@dataclass(frozen=True)
class Option:
    """How one field of ``SupervisorConfig`` is written and read."""

    name: str
    read: Callable[[Any], Any]
    metavar: str
    help: str
    default: Any
    #: None: ``PYTASK_`` and the name in capitals.
    variable: str | None
    many: bool
    in_file: bool
    #: What it says at the start counts for as long as we run.
    is_fixed: bool

    @property
    def flag(self) -> str:
        """How it is written on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def environment(self) -> str:
        """How it is written in the environment."""
        return self.variable or "PYTASK_" + self.name.upper()

    @property
    def key(self) -> str:
        """How it is written in the file; underscores will do too."""
        return self.name.replace("_", "-")

    @property
    def is_switch(self) -> bool:
        """Whether the flag stands alone, and has a ``--no-`` beside it."""
        return self.read is types.switch


def _option(
    default: Any,
    read: Callable[[Any], Any],
    metavar: str,
    help: str,  # noqa: A002 - argparse's word for it
    *,
    variable: str | None = None,
    many: bool = False,
    in_file: bool = True,
    is_fixed: bool = False,
) -> Any:
    details = {"read": read, "metavar": metavar, "help": help}
    details |= {"variable": variable, "many": many, "in_file": in_file, "is_fixed": is_fixed}
    return field(default=default, metadata=details)


@dataclass(frozen=True)
class SupervisorConfig:
    """Everything that ``pytask-supervisor`` can be told."""

    #: One process uses one CPU. More of them: more CPUs used, and a death takes fewer tasks along.
    #: Fewer: less memory (30 MiB and your app, each).
    workers: int = _option("auto", types.workers, "N|auto", "worker processes; auto: one for each CPU granted")
    #: An app can hold everything Python can say: its own Redis, exception handlers, local tasks.
    app: str | None = _option(None, types.app, "MODULE:ATTR", "a PyTask, or a function that returns one")
    #: The short way: no app object, at the price of its options.
    tasks: tuple[str, ...] = _option(
        (), types.modules, "MODULE", "instead of --app: run all tasks found there", many=True
    )
    #: More: fewer processes for tasks that mostly wait. Fewer: memory and CPU have a bound, and
    #: work spreads over more workers.
    concurrency: int | None = _option(
        None, types.count, "N", "tasks at once in a worker, 0: no limit (default: the app's, 1000)"
    )
    redis: str | None = _option(
        None,
        types.redis_url,
        "URL",
        "redis:// unix:// redis+cluster:// redis+sentinel:// (rediss for TLS), or embedded[:DIR] or "
        "embedded-cluster[:DIR]: servers of its own (default: redis://localhost:6379)",
        variable="PYTASK_REDIS_URL",
    )
    #: Longer: tasks have more time to end well. Shorter: a deployment waits less; what has not
    #: stopped is put back and starts again elsewhere either way.
    graceful_timeout: float = _option(
        30.0, types.seconds, "SECONDS", "how long tasks may take to stop before they are cut off"
    )
    #: Longer: fewer tasks are cut short and start again when workers are replaced. Shorter: a rolling restart takes
    #: less time, at most this much for each worker. Tasks that have already run for longer are not waited for.
    drain_timeout: float = _option(
        5.0, types.seconds, "SECONDS", "how long a worker that is replaced may wait for its short tasks to end"
    )
    #: A worker whose loop is blocked can do nothing, not even renew its leases. Shorter: its other
    #: tasks run elsewhere sooner. Longer: tasks may compute for longer without giving way.
    hang_timeout: float = _option(
        30.0, types.hang_seconds, "SECONDS", "kill a worker that gives no sign of life for this long; 0: never"
    )
    #: What is shared with other workers counts in part (PSS). Lower: leaks are cut short sooner. Higher:
    #: fewer tasks change hands.
    max_memory: int = _option(
        0, types.size, "SIZE", "replace a worker that takes this much memory, such as 512M; 0: never"
    )
    #: Lower: whatever tasks leave behind in a process is cleared away sooner. Higher: fewer tasks change hands.
    max_tasks: int = _option(0, types.count, "N", "replace a worker after this many tasks have ended in it; 0: never")
    #: The same, by time.
    max_age: float = _option(0.0, types.seconds, "SECONDS", "replace a worker that is this old; 0: never")
    #: debug tells of every message and shows tracebacks of what fails to load.
    log_level: str = _option("info", types.log_level, "LEVEL", "debug, info, warning or error")
    #: With a path of your own you can tell others where to steer it; auto makes one for each supervisor.
    control_socket: str = _option(
        "auto", types.socket_path, "PATH|auto|none", "where pytaskctl workers reaches this supervisor", is_fixed=True
    )
    #: Costs the master some 10 MiB. Needs the extra "metrics".
    metrics_port: int | None = _option(
        None,
        types.port,
        "PORT",
        "serve /metrics and /healthz over HTTP at this port, 0: at any free port (default: off)",
        is_fixed=True,
    )
    #: Everyone who reaches it can read the names of your tasks.
    metrics_host: str = _option("127.0.0.1", types.text, "HOST", "address of the metrics port", is_fixed=True)
    #: text is read by people, json by collectors: an object a line, an exception in it as a string.
    log_format: str = _option("text", types.log_format, "FORMAT", "text or json", is_fixed=True)
    chdir: str | None = _option(
        None,
        types.text,
        "DIR",
        "change to this folder first, and look there for pyproject.toml and modules",
        in_file=False,
        is_fixed=True,
    )
    #: Saves the memory and the time that each worker takes to load the app; what the app does while it is imported
    #: is done once, before the fork.
    preload: bool = _option(
        False, types.switch, "", "load the app once, in a process from which all workers are forked", is_fixed=True
    )
    #: A lock shows whether it is in use, so a file that was left behind does not stop a start.
    pidfile: str | None = _option(
        None,
        types.text,
        "FILE",
        "file for the master's process id; a second supervisor with the same file does not start",
        is_fixed=True,
    )
    user: str | None = _option(
        None,
        types.text,
        "USER",
        "a name or number: become that user before any worker starts (needs root)",
        is_fixed=True,
    )
    group: str | None = _option(
        None,
        types.text,
        "GROUP",
        "a name or number: the group to run as (default: the user's own groups)",
        is_fixed=True,
    )
    #: 027: the group can read what tasks write, and others cannot.
    umask: str | None = _option(
        None, types.umask, "OCTAL", "umask for files that tasks create, such as 027", is_fixed=True
    )
    #: Shorter: the tasks of a server that is lost run again sooner. Longer: a worker may be cut off
    #: from Redis, or be busy, for longer without losing its tasks.
    task_timeout: float = _option(
        60.0, types.some_seconds, "SECONDS", "with --tasks: silence of a worker after which its tasks are queued again"
    )
    #: Longer: results can be read longer. Shorter: less memory in Redis.
    retention: float = _option(3600.0, types.seconds, "SECONDS", "with --tasks: how long ended tasks stay readable")
    #: Longer: the worker that knows a task may be away for longer. Shorter: a wrong name is found sooner.
    unknown_timeout: float = _option(
        86_400.0, types.some_seconds, "SECONDS", "with --tasks: how long a task waits while no worker knows its name"
    )
    task_set: str = _option(RedisKeys.task_set, types.key_name, "KEY", "with --tasks: the set of active ids")
    task_prefix: str = _option(
        RedisKeys.task_prefix, types.key_name, "PREFIX", "with --tasks: prefix of the key of each task"
    )
    new_queue: str = _option(RedisKeys.new_queue, types.key_name, "KEY", "with --tasks: the list of new ids")
    end_queue: str = _option(RedisKeys.end_queue, types.key_name, "KEY", "with --tasks: the list of ended ids")
    #: The names of the options that somebody set, wherever.
    given: frozenset[str] = frozenset()
    #: Where the app is looked for: the folder of ``chdir``, links followed; empty: the current one.
    folder: str = ""

    @property
    def is_embedded(self) -> bool:
        """Whether ``--redis`` asks for a server of our own."""
        return (self.redis or "").partition(":")[0] in EMBEDDED

    @property
    def embedded_program(self) -> str:
        """The file in ``pytask_core/embedded`` that runs it."""
        return EMBEDDED[(self.redis or "").partition(":")[0]]

    @property
    def embedded_dir(self) -> str | None:
        """The folder in ``embedded:DIR``."""
        return (self.redis or "").partition(":")[2] or None

    @property
    def label(self) -> str:
        """What runs, for titles and the log."""
        return self.app or ",".join(self.tasks)


#: Options that only speak where there is no app to speak for itself.
TASKS_ONLY = ("task_timeout", "retention", "unknown_timeout", "task_set", "task_prefix", "new_queue", "end_queue")


def options() -> list[Option]:
    """Every option, in the order of ``--help``."""
    return [
        Option(name=item.name, default=item.default, **item.metadata)
        for item in fields(SupervisorConfig)
        if item.metadata
    ]
