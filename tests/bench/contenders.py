"""Who is measured: ours, and rivals that are installed from the package index, each into an environment of its own.

``.venv-bench-<rival>`` is made on demand, with the versions that stand here. Their settings are the ones that each
recommends for work that waits, with results stored, since ours are.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Contender:
    """How to run one."""

    name: str
    #: Its module in ``tests.bench.apps``.
    app: str
    #: How its workers are started; ``{url}``, ``{processes}`` and ``{bin}`` are filled in.
    command: str
    #: Whether one command makes all the processes.
    has_master: bool = False
    processes: int = 1
    #: Tasks at once in one process.
    concurrency: int = 1000
    #: Where its programs are.
    bin: Path = Path(sys.executable).parent
    #: How its API takes many at once.
    bulk: str | None = None
    #: What is installed, for a rival.
    versions: tuple[str, ...] = ()
    #: Its settings, for the reader.
    settings: str = ""
    #: Tasks of a run: a slow one is measured no longer than a fast one.
    part: float = 1.0

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.bin / "python")


OURS = Contender(
    name="pytask",
    app="pytask",
    command="{bin}/python -m gevent.monkey --module tests.bench.apps.pytask",
    bulk="many",
    settings="one worker, 1,000 tasks at once",
)

TWO = replace(OURS, name="pytask ×2", processes=2, settings="two workers")

SUPERVISED = replace(
    OURS,
    name="pytask-supervisor ×4",
    command="{bin}/python -m pytask_supervisor --workers {processes} --app tests.bench.apps.pytask:app --redis {url} "
    "--log-level error",
    has_master=True,
    processes=4,
    settings="a master and four workers",
)

_COMMON = ("redis==8.1.0", "hiredis==3.5.0")
_GREEN = (*_COMMON, "gevent==26.9.0", "greenlet==3.5.6")

RIVALS = {
    "dramatiq": Contender(
        name="dramatiq",
        app="dramatiq",
        command="{bin}/dramatiq-gevent tests.bench.apps.dramatiq -p {processes} -t 1000",
        has_master=True,
        versions=("dramatiq==2.2.1", *_GREEN),
        settings="dramatiq-gevent, 1,000 greenlets, results in Redis, as many connections as it wants",
        part=0.5,
    ),
    "huey": Contender(
        name="huey",
        app="huey",
        command="{bin}/python -m gevent.monkey {bin}/huey_consumer tests.bench.apps.huey.huey -k greenlet -w 100 -q",
        concurrency=100,
        versions=("huey==3.5.4", *_GREEN),
        settings="100 greenlets, with which it is faster than with 1,000; patched by gevent, results in Redis",
        part=0.5,
    ),
    "taskiq": Contender(
        name="taskiq",
        app="taskiq",
        command="{bin}/taskiq worker tests.bench.apps.taskiq:broker -w {processes} --max-async-tasks 1000 "
        "--log-level WARNING",
        has_master=True,
        bulk="gather",
        versions=("taskiq==0.13.0", "taskiq-redis==1.2.4", "uvloop==0.23.0", *_COMMON),
        settings="streams, 1,000 at once, uvloop, results in Redis",
        part=0.5,
    ),
    "arq": Contender(
        name="arq",
        app="arq",
        command="{bin}/arq tests.bench.apps.arq.WorkerSettings --custom-log-dict tests.bench.apps.arq.QUIET",
        bulk="gather",
        versions=("arq==0.28.0", "redis==5.3.1", "hiredis==3.5.0"),
        settings="1,000 at once",
        part=0.5,
    ),
    "saq": Contender(
        name="saq",
        app="saq",
        command="{bin}/saq tests.bench.apps.saq.settings --workers {processes}",
        has_master=True,
        bulk="gather",
        versions=("saq[redis,hiredis]==0.26.4", "typing_extensions==4.16.0"),
        settings="1,000 at once",
        part=0.5,
    ),
    "streaq": Contender(
        name="streaq",
        app="streaq",
        command="{bin}/streaq run tests.bench.apps.streaq:worker -w {processes}",
        has_master=True,
        bulk="many",
        versions=("streaq==7.2.0", "coredis==6.9.0", "anyio==4.16.0", "typing_extensions==4.16.0"),
        settings="1,000 at once",
        part=0.2,
    ),
    "celery": Contender(
        name="celery",
        app="celery",
        command="{bin}/celery -A tests.bench.apps.celery worker -P gevent -c 1000 -l WARNING",
        versions=("celery[redis]==5.7.0", *_GREEN),
        settings="1,000 greenlets, result_backend_thread_safe, results in Redis",
        part=0.2,
    ),
    "rq": Contender(
        name="rq",
        app="rq",
        command="{bin}/rq worker -q -w rq.worker.SimpleWorker -u {url} default",
        concurrency=1,
        bulk="many",
        versions=("rq==3.0.0", *_COMMON),
        settings="SimpleWorker, which does not fork; one task at a time",
        part=0.1,
    ),
}


def environment(name: str) -> Path:
    """The folder of a rival's environment, whether it is there or not."""
    return ROOT / f".venv-bench-{name}"


def installed() -> list[str]:
    """The rivals whose environment is there."""
    return [name for name in RIVALS if (environment(name) / ".installed").exists()]


def rival(name: str) -> Contender:
    """Return a rival, ready to run; its environment is made where there is none.

    Raises:
        KeyError: nobody of that name is known.
        subprocess.CalledProcessError: it cannot be installed.
    """
    found, folder = RIVALS[name], environment(name)
    stamp, wanted = folder / ".installed", "\n".join(found.versions)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Installing {', '.join(found.versions)} into {folder.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *found.versions], check=True)
        stamp.write_text(wanted)
    return replace(found, bin=folder / "bin")
