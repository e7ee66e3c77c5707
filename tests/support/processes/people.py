"""Other users of this machine, for what is between users: made by ``useradd``, removed in the end. Needs root."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


class Person:
    """A user with a home that is closed to others."""

    def __init__(self, name: str) -> None:
        require_root()
        self.name = f"pyt-{name}-{os.getpid()}"
        with _one_at_a_time():
            subprocess.run(["useradd", "--no-create-home", "--user-group", self.name], check=True, capture_output=True)
        found = pwd.getpwnam(self.name)
        self.uid, self.gid = found.pw_uid, found.pw_gid
        self.home = Path(tempfile.mkdtemp(prefix=f"pyt-{name}-", dir="/tmp"))
        os.chown(self.home, self.uid, self.gid)

    def folder(self, name: str, mode: int = 0o755) -> Path:
        """A folder of this user's that lies in a place of all."""
        made = Path(tempfile.mkdtemp(prefix=f"pyt-{name}-", dir="/tmp"))
        os.chown(made, self.uid, self.gid)
        made.chmod(mode)
        return made

    def run(self, words: Sequence[str], **more: Any) -> subprocess.CompletedProcess[str]:
        """Do it as this user; stdout and stderr are in the answer."""
        return subprocess.run(words, **self.as_me(), text=True, capture_output=True, check=False, **more)

    def start(self, words: Sequence[str], **more: Any) -> subprocess.Popen[str]:
        """Begin it as this user."""
        return subprocess.Popen(words, **self.as_me(), text=True, **more)

    def call(self, function: Callable[[], str]) -> str:
        """What ``function`` returns, called as this user in a fork: what it needs must be imported already."""
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setresgid(self.gid, self.gid, self.gid)
                os.setresuid(self.uid, self.uid, self.uid)
                os.write(write_end, function().encode())
            finally:
                os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end) as answer:
            said = answer.read()
        os.waitpid(pid, 0)
        return said

    def python(self, *words: str) -> list[str]:
        """The words that run Python with our packages, by a program that this user may run."""
        return [_python(self), "-P", *words]

    def as_me(self) -> dict[str, Any]:
        """What ``subprocess`` is to be told."""
        packages = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("-packages"))])
        environ = {"HOME": str(self.home), "PATH": os.environ["PATH"], "PYTHONPATH": packages}
        environ |= {"PYTHONDONTWRITEBYTECODE": "1", "USER": self.name}
        return {"user": self.uid, "group": self.gid, "extra_groups": [], "env": environ, "cwd": "/"}

    def __enter__(self) -> Person:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _one_at_a_time():
            subprocess.run(["userdel", "--force", self.name], check=True, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


def require_root() -> None:
    """Skip where users cannot be made; in CI by root that is a failure."""
    if os.geteuid() != 0:
        pytest.skip("only root can make other users")
    if shutil.which("useradd") is None:
        if os.environ.get("CI"):
            pytest.fail("useradd is not installed, and CI must have it: apt-get install passwd")
        pytest.skip("useradd is not installed: apt-get install passwd")


def _python(person: Person) -> str:
    """Ours, or the system's of the same version, where ours lies in a folder of root's own."""
    version = f"python3.{sys.version_info.minor}"
    for found in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        words = [found, "-c", "import psutil"]
        try:
            done = subprocess.run(words, **person.as_me(), check=False, capture_output=True)
        except OSError:
            continue
        if done.returncode == 0:
            return found
    pytest.skip(f"other users may not run {sys.executable}, and there is no other {version}")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two that change the file of users at once refuse each other."""
    with open("/tmp/pytask-people.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
