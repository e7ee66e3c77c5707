"""``SupervisorConfig``: each option is declared here, once, for flag, environment and file.

``settings.py`` fills it. A field's name gives the flag (``--graceful-timeout``), the variable
(``PYTASK_GRACEFUL_TIMEOUT``) and the key in ``[tool.pytask-supervisor]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from pytask_supervisor import kinds


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

    @property
    def flag(self) -> str:
        """How it is written on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def environment(self) -> str:
        """How it is written in the environment."""
        return self.variable or "PYTASK_" + self.name.upper()


def _option(
    default: Any,
    read: Callable[[Any], Any],
    metavar: str,
    help: str,  # noqa: A002 - argparse's word for it
    *,
    variable: str | None = None,
    many: bool = False,
    in_file: bool = True,
) -> Any:
    details = {"read": read, "metavar": metavar, "help": help}
    details |= {"variable": variable, "many": many, "in_file": in_file}
    return field(default=default, metadata=details)


@dataclass(frozen=True)
class SupervisorConfig:
    """Everything that ``pytask-supervisor`` can be told."""

    #: One process uses one CPU. More of them: more CPUs used, and a death takes fewer tasks along.
    #: Fewer: less memory (30 MiB and your app, each).
    workers: int = _option("auto", kinds.workers, "N|auto", "worker processes; auto: one for each CPU granted")
    #: An app can hold everything Python can say: its own Redis, exception handlers, local tasks.
    app: str | None = _option(None, kinds.app, "MODULE:ATTR", "a PyTask, or a function that returns one")
    #: The short way: no app object, at the price of its options.
    tasks: tuple[str, ...] = _option(
        (), kinds.modules, "MODULE", "instead of --app: run all tasks found there", many=True
    )
    #: More: fewer processes for tasks that mostly wait. Fewer: memory and CPU have a bound, and
    #: work spreads over more workers.
    concurrency: int | None = _option(
        None, kinds.count, "N", "tasks at once in a worker, 0: no bound (default: the app's, 1000)"
    )
    redis: str | None = _option(
        None,
        kinds.redis_url,
        "URL",
        "redis:// rediss:// unix:// redis+cluster:// rediss+cluster://, or embedded[:DIR]: "
        "a server of its own (default: redis://localhost:6379)",
        variable="PYTASK_REDIS_URL",
    )
    #: Longer: tasks have more time to end well. Shorter: a deployment waits less; what has not
    #: stopped is put back and begins anew elsewhere either way.
    graceful_timeout: float = _option(
        30.0, kinds.seconds, "SECONDS", "how long tasks may take to stop before they are cut off"
    )
    #: debug tells of every message and shows tracebacks of what fails to load.
    log_level: str = _option("info", kinds.log_level, "LEVEL", "debug, info, warning or error")
    chdir: str | None = _option(
        None,
        kinds.text,
        "DIR",
        "go there first: pyproject.toml and modules are looked for there",
        in_file=False,
    )
    #: Shorter: the tasks of a server that is lost run again sooner. Longer: a worker may be cut off
    #: from Redis, or be busy, for longer without losing its tasks.
    task_timeout: float = _option(
        60.0, kinds.some_seconds, "SECONDS", "with --tasks: silence after which a task is requeued"
    )
    #: Longer: results can be read longer. Shorter: less memory in Redis.
    retention: float = _option(3600.0, kinds.seconds, "SECONDS", "with --tasks: how long ended tasks stay readable")
    task_set: str = _option("tasks", kinds.text, "KEY", "with --tasks: the set of active ids")
    task_prefix: str = _option("task-", kinds.text, "PREFIX", "with --tasks: before each task's id")
    new_queue: str = _option("new-task", kinds.text, "KEY", "with --tasks: the list of new ids")
    end_queue: str = _option("end-task", kinds.text, "KEY", "with --tasks: the list of ended ids")
    #: The names of the options that somebody set, wherever.
    given: frozenset[str] = frozenset()

    @property
    def is_embedded(self) -> bool:
        """Whether ``--redis`` asks for a server of our own."""
        return self.redis is not None and self.redis.partition(":")[0] == "embedded"

    @property
    def embedded_dir(self) -> str | None:
        """The folder in ``embedded:DIR``."""
        return (self.redis or "").partition(":")[2] or None

    @property
    def label(self) -> str:
        """What runs, for titles and the log."""
        return self.app or ",".join(self.tasks)


#: Options that only speak where there is no app to speak for itself.
TASKS_ONLY = ("task_timeout", "retention", "task_set", "task_prefix", "new_queue", "end_queue")


def options() -> list[Option]:
    """Every option, in the order of ``--help``."""
    return [
        Option(name=item.name, default=item.default, **item.metadata)
        for item in fields(SupervisorConfig)
        if item.metadata
    ]
