"""A real ``pytask-supervisor`` in a folder of its own, as a user starts it. Called by tests.

Its stderr goes to a file, which every process that it starts keeps open: that is how we find what
is left of it, wherever it hides.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType

import psutil

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]

#: A log line: time, level, who, message.
LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) \[(master|worker \d+)\] (.*)$")


#: How a task ends says nothing of those that run it; whether it should have is for the test to see.
OWN_AFFAIR = " ended as EXCEPTION"


class SupervisorProcess:
    """Started by the constructor; use as a context, which ends with ``check_clean``.

    ``folder`` holds the app's files and is the current directory. ``environ`` adds to ours, from
    which everything of ours (``PYTASK_...``) is taken out. ``stage`` is
    one of ``tests.support.processes.staged_supervisor``. ``launcher`` is a command that runs ours. ``stdin`` and
    ``start_new_session`` are as for ``Popen``.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environ: dict[str, str] | None = None,
        stage: str | None = None,
        stdin: int = subprocess.DEVNULL,
        start_new_session: bool = True,
        launcher: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.log = folder / "supervisor.log"
        #: Words that ``check_clean`` would take for trouble, and this test expects.
        self.expected: list[str] = []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTASK_")}
        program = ["tests.support.processes.staged_supervisor", stage] if stage else ["pytask_supervisor"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*launcher, sys.executable, "-m", *program, *arguments],
                cwd=folder,
                env={**clean, "PYTHONPATH": str(ROOT), **(environ or {})},
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=start_new_session,
            )

    @property
    def pid(self) -> int:
        """The master's process id."""
        return self.process.pid

    @property
    def text(self) -> str:
        """All that was logged."""
        return self.log.read_text(errors="replace")

    def lines(self, level: str, who: str = "") -> list[str]:
        """The messages of that level, of all or of one process."""
        found = [LINE.match(line) for line in self.text.splitlines()]
        return [m[3] for m in found if m and m[1] == level and m[2].startswith(who)]

    def workers(self) -> dict[int, int]:
        """Number and process id of every child that runs ``run_child``, by its title."""
        found = {}
        for child in self.children():
            match = re.search(r"pytask-supervisor: worker (\d+) ", title(child))
            if match:
                found[int(match[1])] = child
        return found

    def age(self) -> float:
        """Seconds since the last time that all workers were ready: what they did before counts."""
        lines = [line for line in self.text.splitlines() if line.endswith(" ready")]
        said = datetime.strptime(lines[-1][:23], "%Y-%m-%d %H:%M:%S,%f").astimezone()
        return (datetime.now().astimezone() - said).total_seconds()

    def titles(self) -> list[str]:
        """What ``ps`` shows of the children."""
        return [title(child) for child in self.children()]

    def children(self) -> list[int]:
        """The process ids of the master's own children."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children()]
        except psutil.NoSuchProcess:
            return []

    def wait_for(self, words: str, count: int = 1, timeout: float = 15) -> None:
        """Wait until the log has these words so many times."""

        def is_there() -> bool:
            if self.text.count(words) >= count:
                return True
            assert self.process.poll() is None or self.text.count(words) >= count, (
                f"it ended with {self.process.returncode} and never said {words!r}:\n{self.text}"
            )
            return False

        try:
            wait_until(is_there, timeout)
        except AssertionError as error:
            raise AssertionError(f"{words!r} was not said {count} times:\n{self.text}") from error

    def wait_ready(self, count: int, times: int = 1) -> None:
        """Wait for the master's word that ``count`` workers are ready."""
        noun = "1 worker is" if count == 1 else f"{count} workers are"
        self.wait_for(f"[master] {noun} ready", times)

    def send(self, signum: int, slot: int | None = None) -> None:
        """Send a signal to the master, or to the worker with that number."""
        os.kill(self.pid if slot is None else self.workers()[slot], signum)

    def wait(self, timeout: float = 20) -> int:
        """The exit code; a hint at the log if it does not end."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still there after {timeout:g} s:\n{self.text}") from error

    def stop(self, signum: int = signal.SIGINT, timeout: float = 20) -> int:
        """Ask it to stop and wait; the exit code. No child may be a zombie before."""
        wait_until(lambda: not any(map(is_zombie, self.children())), 2, "no zombie")
        self.send(signum)
        return self.wait(timeout)

    def left(self) -> list[int]:
        """Processes, zombies aside, that still hold our log open."""
        target = os.stat(self.log)
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                there = os.stat(process / "fd" / "2")
            except OSError:
                continue
            if (there.st_dev, there.st_ino) == (target.st_dev, target.st_ino):
                found.append(int(process.name))
        return found

    def check_clean(self) -> None:
        """Nothing is left, and nothing was said that the test did not expect."""
        assert self.process.poll() is not None, "the test must end the supervisor"
        wait_until(lambda: not self.left(), 3, f"no process left: {self.left()}")
        trouble = [
            line
            for line in self.text.splitlines()
            if re.search(r"Traceback|\bERROR\b|\bCRITICAL\b|Exception|Warning\b", line)
            and not any(words in line for words in (*self.expected, OWN_AFFAIR))
        ]
        assert not trouble, f"unexpected: {trouble}\n{self.text}"

    def __enter__(self) -> SupervisorProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.check_clean()
        finally:
            self.process.kill()
            self.process.wait()
            for pid in self.left():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def title(pid: int) -> str:
    """What ``ps`` shows."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def is_zombie(pid: int) -> bool:
    """Whether the process has ended and waits to be reaped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
