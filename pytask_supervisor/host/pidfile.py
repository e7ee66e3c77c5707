"""``PidFile``: tells scripts which process runs here, and keeps a second one out.

Whether its writer lives is told by a lock on the file and not by the number in it, which the kernel may have given to
another process since. The lock dies with its process, however that ends, and no fork copies it.

Root often writes it, into a folder to which the service's user has access, or all have. So no link of another user's is
followed on the way, and none at all at the end. A file is taken only if it is plain, has no other name, belongs to us
or to root, and nobody else may write to it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from pytask_supervisor.shared.exits import StartError

log = logging.getLogger("pytask.supervisor")

#: A pipe in the file's place is opened at once as well, to be refused.
FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Who else may write to it can have a script kill any process.
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class PidFile:
    """Use as a context; ``path`` is made absolute at once. Raises ``StartError`` if it cannot be had.

    A child calls ``close``: through its copy of the descriptor it could write where its user may not.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            while not self._take():
                pass
        except OSError as error:
            why = "it is a link, and none is followed" if error.errno == errno.ELOOP else error.strerror
            raise StartError(f"cannot write the pidfile {self._path}: {why}") from error
        return self

    def close(self) -> None:
        """Let go of the descriptor, and of nothing else."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if self._is_ours():
                self._path.unlink()
        except OSError:
            # A folder of root's, and we have given up being root. An empty file is nobody's either.
            os.ftruncate(self._fd, 0)
        self.close()

    def _take(self) -> bool:
        """Lock and write it; False if somebody removed it meanwhile, so that we would hold what nobody sees."""
        self._check_way()
        self._fd = os.open(self._path, FLAGS, 0o644)
        try:
            self._check()
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = self._number()
            self.close()
            raise StartError(
                f"another pytask-supervisor runs{f' as process {holder}' if holder else ''} and holds the pidfile "
                f"{self._path}; stop that one, or name another --pidfile"
            ) from error
        except (OSError, StartError):
            self.close()
            raise
        if not self._is_there():
            self.close()
            return False
        before = self._number()
        if before and before != os.getpid():
            log.info("the pidfile %s was left behind by process %s; it is ours now", self._path, before)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return True

    def _check_way(self) -> None:
        """Through a link, whose owner may point it elsewhere, root would make a file wherever that person likes."""
        for above in reversed(self._path.parents):
            found = os.lstat(above)
            if stat.S_ISLNK(found.st_mode) and found.st_uid not in (0, os.geteuid()):
                raise StartError(
                    f"the pidfile {self._path} is not used: {above} is a link of user {found.st_uid}, and only links "
                    "of root and of the user that we are may be on the way; name another --pidfile"
                )

    def _check(self) -> None:
        # Once more: now that it is open it cannot be exchanged any more.
        self._check_way()
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            why = "it is not a plain file"
        elif found.st_nlink > 1:
            why = "it has another name too (a hard link)"
        elif found.st_uid not in (0, os.geteuid()):
            why = f"it belongs to user {found.st_uid}, and is only taken from root or the user that we are"
        elif found.st_mode & WRITABLE_BY_OTHERS:
            why = f"others may write to it (mode {found.st_mode & 0o777:o})"
        else:
            return
        raise StartError(f"the pidfile {self._path} is not used: {why}; remove it, or name another --pidfile")

    def _is_ours(self) -> bool:
        return self._is_there() and self._number() == os.getpid()

    def _is_there(self) -> bool:
        try:
            there = os.lstat(self._path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._fd))

    def _number(self) -> int | None:
        """The process id in it; None where there is something else, which the log must not show."""
        text = os.pread(self._fd, 32, 0).strip()
        return int(text) if text.isdigit() else None
