"""``pytaskctl top``: queues and workers, live. Called by ``dispatch``.

A second thread asks the supervisor and Redis, since each may take seconds to fail, and keys must work at once. The
terminal is left as it was before, however this ends.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pytask_supervisor.shared.redact import redact

from .arguments import Options
from .control_client import MasterError, ask, find
from .output import Output, printable
from .workers import COLUMNS, row, span

#: Seconds between looks at whether there is something new to show.
LOOK = 0.05
#: Seconds that a look under way has to end in, once the screen is gone.
GRACE = 0.2
#: Columns that are shown however narrow the screen is: slot, process id and stage.
LEAST_COLUMNS = 3

#: Gives the lengths of the queues, or a sentence that says why they are not known.
CountQueues = Callable[[], dict[str, int] | str]


@dataclass
class Frame:
    """What is shown at one moment."""

    supervisor: dict[str, Any] = field(default_factory=dict)
    workers: list[dict[str, Any]] = field(default_factory=list)
    ended: dict[str, int] = field(default_factory=dict)
    queues: dict[str, int] | str = field(default_factory=dict)
    #: Why the supervisor does not answer.
    trouble: str = ""

    @property
    def rate(self) -> float:
        """Tasks that ended in a second, over all workers."""
        return float(sum(worker["figures"].get("rate", 0.0) for worker in self.workers))


def top(options: Options, output: Output, count_queues: CountQueues) -> int:
    """Show until q or Ctrl-C; or one frame, with ``--once``, ``--json``, or without a terminal."""
    try:
        path = find(options.control_socket)
        frame = _look(path, count_queues)
        if frame.trouble:
            raise MasterError(frame.trouble)
    except MasterError as error:
        output.complain(str(error))
        return 1
    if output.as_json:
        names = ("supervisor", "workers", "ended", "queues")
        output.json({"rate": round(frame.rate, 2), **{name: getattr(frame, name) for name in names}})
    elif options.once or not output.stdout.isatty():
        Console(file=output.stdout, soft_wrap=True).print(_drawn(frame))
    else:
        try:
            _watch(frame, lambda: _look(path, count_queues), options.interval, output.stdout)
        except (OSError, termios.error) as error:
            if errno.EIO not in error.args[:1]:
                raise
            # The terminal is gone: there is nothing to restore.
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.stdout.fileno())
    return 0


def _look(path: Path, count_queues: CountQueues) -> Frame:
    try:
        told = ask(path, do="show")
    except MasterError as error:
        return Frame(queues=count_queues(), trouble=str(error))
    return Frame(told["supervisor"], told["workers"], told["ended"], count_queues())


def _watch(frame: Frame, look: Callable[[], Frame], interval: float, stdout: TextIO) -> None:
    frames = [frame]
    over = threading.Event()

    def keep_looking() -> None:
        while not over.wait(interval):
            frames.append(look())
            del frames[:-1]

    looking = threading.Thread(target=keep_looking, daemon=True)
    with suppress(KeyboardInterrupt), _ended_by_signals(), _keys() as pressed:
        looking.start()
        shown = frame
        console = Console(file=stdout)
        size = console.size
        with Live(_drawn(shown, console), console=console, screen=True, auto_refresh=False) as live:
            while "q" not in pressed(LOOK):
                if frames[-1] is not shown or console.size != size:
                    shown, size = frames[-1], console.size
                    live.update(_drawn(shown, console), refresh=True)
    over.set()
    # What it uses is closed now. It gets no longer: it may be in the midst of a connection that takes long to fail.
    if looking.is_alive():
        looking.join(GRACE)


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Gives a function that waits that many seconds for keys; without a terminal it only waits."""
    if sys.stdin is None or not sys.stdin.isatty():

        def nothing(seconds: float) -> str:
            time.sleep(seconds)
            return ""

        yield nothing
        return
    fd = sys.stdin.fileno()
    poller = select.poll()
    poller.register(fd, select.POLLIN)

    def pressed(seconds: float) -> str:
        if not (events := poller.poll(seconds * 1000)):
            return ""
        # The terminal is gone, so stop.
        return os.read(fd, 64).decode("latin-1") if events[0][1] == select.POLLIN else "q"

    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        # Ctrl-C empties the terminal of the keys before it: a read that waited for them would keep us from its signal.
        modes = termios.tcgetattr(fd)
        modes[6][termios.VMIN] = 0
        termios.tcsetattr(fd, termios.TCSANOW, modes)
        yield pressed
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end us as Ctrl-C does; otherwise the terminal would stay as we have set it."""

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {signum: signal.signal(signum, interrupt) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _drawn(frame: Frame, console: Console | None = None) -> RenderableType:
    """What fits on the screen of ``console``; None: everything."""
    above = Text(f"{_head(frame)}\n{_queues(frame)}\n")
    rows, width, more = [row(worker) for worker in frame.workers], len(COLUMNS), 0
    if console is not None:
        width = _fitting(rows, console.width)
        room = console.height - len(above.wrap(console, console.width)) - 1  # The table's head.
        if len(rows) > room:
            shown = max(room - 1, 0)
            rows, more = rows[:shown], len(rows) - shown
    table = Table(*COLUMNS[:width], box=None, pad_edge=False, collapse_padding=True)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[4:]:
        column.justify = "right"
    for cells in rows:
        table.add_row(*(Text(printable(cell)) for cell in cells[:width]))
    return Group(above, table, *([Text(f"… {more} more")] if more else []))


def _fitting(rows: list[list[str]], width: int) -> int:
    """How many whole columns fit, with a space between; the least important ones are on the right."""
    widest = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    fitting = [count for count in range(LEAST_COLUMNS, len(COLUMNS) + 1) if sum(widest[:count]) + count - 1 <= width]
    return max(fitting, default=LEAST_COLUMNS)


def _head(frame: Frame) -> str:
    if frame.trouble:
        return printable(frame.trouble) + "; trying again"
    about = frame.supervisor
    ready = sum(worker["stage"] == "ready" for worker in frame.workers)
    words = [
        f"pytask-supervisor {printable(about['version'])} (pid {about['pid']}) {printable(about['label'])}",
        f"up {span(about['uptime'])}",
        f"{ready} of {len(frame.workers)} workers ready",
        *(word for word in ("quiet", "stopping") if about[word]),
    ]
    return ", ".join(words)


def _queues(frame: Frame) -> str:
    if isinstance(frame.queues, str):
        lengths = printable(redact(frame.queues))
    else:
        lengths = "{new} wait, {active} active, {end} ended".format(**frame.queues)
        if "parked" in frame.queues:
            lengths += f", {frame.queues['parked']} parked under names that no worker knows"
    ended = ", ".join(f"{count} {printable(state)}" for state, count in frame.ended.items() if count)
    return f"queues: {lengths}\n{frame.rate:.1f} tasks/s; since the start: {ended or 'none'}"
