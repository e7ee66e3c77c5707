"""``standing``: where the master runs, and as whom: folder, pidfile, umask, group and user. Called by ``cli``.

All of it is done before anything is forked or connected, so that no child was ever more than it is to be.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

from pytask_supervisor.host.pidfile import PidFile
from pytask_supervisor.shared.exits import StartError

#: The first number that cannot be a user's or a group's: to the kernel it says "leave it as it is".
NO_ID = 2**32 - 1


class Identity(Protocol):
    """As whom to run: options of the supervisor, None for what is to stay as it is."""

    @property
    def umask(self) -> str | None: ...  # octal

    @property
    def user(self) -> str | None: ...

    @property
    def group(self) -> str | None: ...


class Standing(Identity, Protocol):
    """Where to run as well."""

    @property
    def folder(self) -> str | None: ...

    @property
    def pidfile(self) -> str | None: ...


@contextmanager
def standing(config: Standing) -> Iterator[PidFile | None]:
    """Go there; what must be undone at the end is. Gives the pidfile, if there is one. Raises ``StartError``."""
    if config.folder:
        os.chdir(config.folder)
    # Before the user changes: /run is root's.
    with PidFile(config.pidfile) if config.pidfile is not None else nullcontext() as pidfile:
        become(config)
        yield pidfile


def become(config: Identity) -> None:
    """Take umask, groups and user, for good. Raises ``StartError`` where we may not."""
    if config.umask is not None:
        os.umask(int(config.umask, 8))
    if config.user is None and config.group is None:
        return
    account = None if config.user is None else _account(config.user)
    uid = os.getuid() if account is None else account.pw_uid
    gid = _gid(config.group) if config.group is not None else account.pw_gid if account is not None else os.getgid()
    if (uid, gid) == (os.getuid(), os.getgid()) == (os.geteuid(), os.getegid()):
        return
    try:
        # In this order: a user who is not root may change neither groups nor users.
        os.setgroups([gid] if account is None else os.getgrouplist(account.pw_name, gid))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except PermissionError as error:
        raise StartError(
            f"only root can become {_asked(config)}, and we are {_name(os.geteuid())}; start it as root, or as that "
            "user, and without the flag"
        ) from error
    except OSError as error:
        raise StartError(f"this machine does not let us become {_asked(config)}: {error.strerror}") from error
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3:
        raise StartError(
            f"we were to become {_asked(config)}, and are user {os.getresuid()} and group {os.getresgid()} (real, "
            "effective, saved); nothing is started as another user"
        )
    if account is not None:
        os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)


def _account(user: str) -> pwd.struct_passwd:
    number = _number("user", user)
    try:
        return pwd.getpwnam(user) if number is None else pwd.getpwuid(number)
    except KeyError as error:
        if number is None:
            raise StartError(f"there is no user {user} on this machine") from error
        # A container may run as a number that no file knows.
        return pwd.struct_passwd((user, "x", number, number, "", "/", ""))


def _gid(group: str) -> int:
    number = _number("group", group)
    try:
        return grp.getgrnam(group).gr_gid if number is None else number
    except KeyError as error:
        raise StartError(f"there is no group {group} on this machine") from error


def _number(kind: str, word: str) -> int | None:
    """The number that the word is, or None for a name. Digits are those of ASCII: the kernel knows no others."""
    if not (word.isascii() and word.isdigit()):
        return None
    # Python does not read numbers of thousands of digits, and no number of a user has as many.
    if len(word) > len(str(NO_ID)) or int(word) >= NO_ID:
        raise StartError(f"there is no {kind} {word:.20} on this machine: numbers go up to {NO_ID - 1}")
    return int(word)


def _asked(config: Identity) -> str:
    words = [f"user {config.user}"] if config.user is not None else []
    return " and ".join(words + ([f"group {config.group}"] if config.group is not None else []))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
