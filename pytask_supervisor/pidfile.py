"""``PidFile``: who runs here, for scripts, and that nobody else does.

Whether its writer lives is told by a lock on the file and not by the number in it, which the kernel may have given to
another process since. The lock dies with its process, however that ends, and no fork copies it.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from pytask_supervisor.exits import StartError

log = logging.getLogger("pytask.supervisor")


class PidFile:
    """Use as a context; ``path`` is made absolute at once. Raises ``StartError`` if it cannot be had."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            while not self._take():
                pass
        except OSError as error:
            raise StartError(f"cannot write the pidfile {self._path}: {error.strerror}") from error
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if self._is_ours():
                self._path.unlink()
        except OSError:
            # A folder of root's, and we have given up being root. An empty file is nobody's either.
            os.ftruncate(self._fd, 0)
        os.close(self._fd)

    def _take(self) -> bool:
        """Lock and write it; False if somebody removed it meanwhile, so that we would hold what nobody sees."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = self._read()
            os.close(self._fd)
            raise StartError(
                f"another pytask-supervisor runs{f' as process {holder}' if holder else ''} and holds the pidfile "
                f"{self._path}; stop that one, or name another --pidfile"
            ) from error
        except OSError:
            os.close(self._fd)
            raise
        if not self._is_there():
            os.close(self._fd)
            return False
        before = self._read()
        if before and before != str(os.getpid()):
            log.info("the pidfile %s was left behind by process %s; it is ours now", self._path, before)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return True

    def _is_ours(self) -> bool:
        return self._is_there() and self._read() == str(os.getpid())

    def _is_there(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._fd))

    def _read(self) -> str:
        return os.pread(self._fd, 32, 0).decode(errors="replace").strip()
