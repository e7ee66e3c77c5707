"""``SupervisorConfig``: each option is declared here, once, for flag, environment and file.

``settings.py`` fills it. A field's name gives the flag (``--graceful-timeout``), the variable
(``PYTASK_GRACEFUL_TIMEOUT``) and the key in ``[tool.pytask-supervisor]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from pytask_core.keys import RedisKeys
from pytask_core.redis_url import DEFAULT, EMBEDDED
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
    #: Whether a reload leaves it as it was at the start.
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
        """How it is written in the file, where underscores are allowed too."""
        return self.name.replace("_", "-")

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value, and has a ``--no-`` form."""
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
    """All options of ``pytask-supervisor``."""

    #: One process uses one CPU. More: more CPUs are used, and a death hits fewer tasks. Fewer: less memory (each takes
    #: 30 MiB and your app).
    workers: int = _option("auto", types.workers, "N|auto", "worker processes; auto: one for each CPU granted")
    #: An app can set everything in Python: its own Redis, exception handlers, local tasks.
    app: str | None = _option(None, types.app, "MODULE:ATTR", "a PyTask, or a function that returns one")
    #: The short way: it needs no app object, and cannot set an app's options.
    tasks: tuple[str, ...] = _option(
        (), types.modules, "MODULE", "run all tasks in these modules, instead of an --app", many=True
    )
    #: More: tasks that mostly wait need fewer processes. Fewer: memory and CPU are bounded, and work spreads over more
    #: workers.
    concurrency: int | None = _option(
        None, types.count, "N", "tasks at once in one worker; 0: no limit (default: the app's own, 1000)"
    )
    redis: str | None = _option(
        None,
        types.redis_url,
        "URL",
        "redis:// unix:// redis+cluster:// redis+sentinel:// (rediss for TLS); or embedded[:DIR] or "
        f"embedded-cluster[:DIR], which starts a server of its own (default: {DEFAULT})",
        variable="PYTASK_REDIS_URL",
    )
    #: Longer: tasks have more time to end well. Shorter: a deployment waits less. Tasks that have not stopped by then
    #: are queued again either way.
    graceful_timeout: float = _option(
        30.0, types.seconds, "SECONDS", "how long tasks may take to stop; then they are cut off and queued again"
    )
    #: Longer: fewer tasks are cut short when workers are replaced. Shorter: a rolling restart takes less time, since it
    #: may wait this long for each worker. It never waits for tasks that have already run for longer.
    drain_timeout: float = _option(
        5.0, types.seconds, "SECONDS", "how long a worker that is being replaced waits for its short tasks to end"
    )
    #: A worker whose loop is blocked can do nothing, not even renew its leases. Shorter: its other tasks run elsewhere
    #: sooner. Longer: tasks may compute for longer without yielding.
    hang_timeout: float = _option(
        30.0, types.hang_seconds, "SECONDS", "kill a worker that gives no sign of life for this long; 0: never"
    )
    #: Memory that workers share counts in part (PSS). Lower: leaks end sooner. Higher: fewer tasks are moved.
    max_memory: int = _option(
        0, types.size, "SIZE", "replace a worker that uses more memory than this, e.g. 512M; 0: never"
    )
    #: Lower: what tasks leave behind in a process is cleared away sooner. Higher: fewer tasks are moved.
    max_tasks: int = _option(0, types.count, "N", "replace a worker in which this many tasks have ended; 0: never")
    #: The same, by time.
    max_age: float = _option(0.0, types.seconds, "SECONDS", "replace a worker that is older than this; 0: never")
    #: debug logs every message, and the traceback of an app that cannot be loaded.
    log_level: str = _option("info", types.log_level, "LEVEL", "debug, info, warning or error")
    #: A path of your own is the same at each start; auto makes one for each supervisor.
    control_socket: str = _option(
        "auto",
        types.socket_path,
        "PATH|auto|none",
        "where pytaskctl reaches this supervisor; auto: a socket of its own",
        is_fixed=True,
    )
    #: Costs the master about 10 MiB. Needs the extra "metrics".
    metrics_port: int | None = _option(
        None,
        types.port,
        "PORT",
        "serve /metrics and /healthz over HTTP at this port; 0: at any free port (default: off)",
        is_fixed=True,
    )
    #: Everyone who reaches it can read the names of your tasks.
    metrics_host: str = _option("127.0.0.1", types.text, "HOST", "the address for --metrics-port", is_fixed=True)
    #: text is for people, json for log collectors: one object a line, with an exception in it as a string.
    log_format: str = _option("text", types.log_format, "FORMAT", "text or json", is_fixed=True)
    chdir: str | None = _option(
        None,
        types.text,
        "DIR",
        "change to this folder first; pyproject.toml and modules are looked for there",
        in_file=False,
        is_fixed=True,
    )
    #: Saves the memory and time that each worker takes to load the app. What the app does at import is then done once,
    #: before the fork.
    preload: bool = _option(
        False, types.switch, "", "load the app once, in a process from which all workers are forked", is_fixed=True
    )
    #: A lock tells whether its writer lives, so a file that was left behind does not stop a start.
    pidfile: str | None = _option(
        None,
        types.text,
        "FILE",
        "write the master's process id there; a second supervisor with the same file does not start",
        is_fixed=True,
    )
    user: str | None = _option(
        None,
        types.text,
        "USER",
        "a name or number: run as this user (needs root)",
        is_fixed=True,
    )
    group: str | None = _option(
        None, types.text, "GROUP", "a name or number: run as this group (default: the user's own groups)", is_fixed=True
    )
    #: With 027 the group can read what tasks write, and others cannot.
    umask: str | None = _option(
        None, types.umask, "OCTAL", "umask for files that tasks create, e.g. 027", is_fixed=True
    )
    #: Shorter: the tasks of a lost server run again sooner. Longer: a worker may be cut off from Redis, or be busy, for
    #: longer without losing its tasks.
    task_timeout: float = _option(
        60.0,
        types.some_seconds,
        "SECONDS",
        "with --tasks: requeue the tasks of a worker after this long without a sign of life",
    )
    #: Longer: results can be read for longer. Shorter: Redis needs less memory.
    retention: float = _option(
        3600.0,
        types.seconds,
        "SECONDS",
        "with --tasks: how long ended tasks stay readable; 0: they are removed at once",
    )
    #: Longer: workers that know a task may be away for longer. Shorter: a wrong name is found sooner.
    unknown_timeout: float = _option(
        86_400.0, types.some_seconds, "SECONDS", "with --tasks: how long a task waits while no worker knows its name"
    )
    task_set: str = _option(RedisKeys.task_set, types.key_name, "KEY", "with --tasks: name of the set of active ids")
    task_prefix: str = _option(
        RedisKeys.task_prefix,
        types.key_name,
        "PREFIX",
        "with --tasks: prefix of an id in the names of its hash and channels",
    )
    new_queue: str = _option(
        RedisKeys.new_queue, types.key_name, "KEY", "with --tasks: name of the list of waiting ids"
    )
    end_queue: str = _option(RedisKeys.end_queue, types.key_name, "KEY", "with --tasks: name of the list of ended ids")
    #: The names of the options that were set: by flag, environment or file.
    given: frozenset[str] = frozenset()
    #: Where the app is looked for: the folder of ``chdir``, links followed; empty: the current one.
    folder: str = ""

    @property
    def is_embedded(self) -> bool:
        """Whether ``--redis`` asks for a server that we start."""
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


#: Options that count only with ``--tasks``; an app has its own settings.
TASKS_ONLY = ("task_timeout", "retention", "unknown_timeout", "task_set", "task_prefix", "new_queue", "end_queue")


def options() -> list[Option]:
    """Every option, in the order of ``--help``."""
    return [
        Option(name=item.name, default=item.default, **item.metadata)
        for item in fields(SupervisorConfig)
        if item.metadata
    ]
