"""Makes folders and files for us alone, and refuses what another user could have made or opened.

For the embedded servers, whose folder holds everything: tasks, their data, and the socket that takes orders. Like
``embedded`` it imports the standard library only, since that is also run as a program by its path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

#: A user who may write to a folder may replace what is in it.
WRITABLE = stat.S_IWGRP | stat.S_IWOTH
#: Links on the way to a folder; the kernel follows the same number.
MOST_LINKS = 40


class NotPrivateError(Exception):
    """Another user could have changed it; the text is a sentence with the remedy."""


def check_folder(folder: Path) -> None:
    """Refuse a folder of another user, and one that others may write to. A folder that does not exist yet is fine.

    Also refused is a folder inside such a folder, or behind another user's link: that user could replace it.
    """
    check_way(folder)
    try:
        link, found = os.lstat(folder), os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise NotPrivateError(f"{folder} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise NotPrivateError(f"{folder} is not a folder: name another one (embedded:DIR)")
    for owner in (link.st_uid, found.st_uid):
        if owner != os.geteuid():
            raise NotPrivateError(
                f"{folder} belongs to {_user(owner)}, who could read all tasks in it or give us others: name a folder "
                f"of {_user(os.geteuid())} (embedded:DIR), or run as {_user(owner)}"
            )
    if found.st_mode & WRITABLE:
        raise NotPrivateError(
            f"others may write to {folder} (mode {stat.S_IMODE(found.st_mode):o}), and so replace what is in it: "
            f"chmod go-w {folder}, or name another folder (embedded:DIR)"
        )


def check_way(folder: Path) -> None:
    """Refuse a folder that another user could replace, as the owner of a folder or link on the way to it.

    Links are followed as the kernel does, and the way to each link is checked too. Raises ``NotPrivateError``.
    """
    here, names, links = Path("/"), list(reversed(folder.parts[1:])), 0
    while names:
        _check_above(here, folder)
        here = here / names.pop()
        try:
            found = os.lstat(here)
        except OSError:
            return  # What does not exist yet will be made by us.
        if not stat.S_ISLNK(found.st_mode):
            continue
        _check_owner(here, found, folder)
        links += 1
        if links > MOST_LINKS:
            raise NotPrivateError(f"there are too many links on the way to {folder}")
        target = Path(os.path.normpath(here.parent / os.readlink(here)))
        here, names = Path("/"), names + list(reversed(target.parts[1:]))


def _check_above(above: Path, folder: Path) -> None:
    found = os.stat(above)
    _check_owner(above, found, folder)
    is_sticky = found.st_mode & stat.S_ISVTX
    # Many users have a group of their own, and a umask that lets it write.
    is_of_others = found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid())
    if not is_sticky and (is_of_others or found.st_mode & stat.S_IWOTH):
        raise NotPrivateError(
            f"others may write to {above} (mode {stat.S_IMODE(found.st_mode):o}), and so replace {folder}: "
            "name another folder (embedded:DIR)"
        )


def _check_owner(path: Path, found: os.stat_result, folder: Path) -> None:
    """Root, ourselves, or, in a container, the user that stands for all unknown ones."""
    if found.st_uid not in (0, os.geteuid(), _nameless()):
        raise NotPrivateError(
            f"{path} belongs to {_user(found.st_uid)}, who could put another folder in the place of {folder}: name "
            "another one (embedded:DIR)"
        )


def _nameless() -> int:
    """The number that the kernel shows for users whom a container does not know, the host's root included."""
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return 0


def check_names(folder: Path, names: Iterable[str]) -> None:
    """Refuse links and other users' files under these names: a program of ours would open them as its own."""
    for name in names:
        path = folder / name
        try:
            found = os.lstat(path)
        except OSError:
            continue  # It does not exist, or cannot be opened either.
        _check(path, found)
        if not stat.S_ISDIR(found.st_mode):
            continue
        # Written by an earlier version, or under another umask.
        if found.st_mode & 0o077:
            os.chmod(path, 0o700)
        for each in os.scandir(path):
            _check(Path(each.path), each.stat(follow_symlinks=False))


def open_file(path: Path, flags: int) -> int:
    """A descriptor of a plain file that only we can read; made if ``flags`` say so. Raises ``OSError`` as well."""
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError:
        check_names(path.parent, [path.name])  # It may say why.
        raise
    try:
        found = os.fstat(fd)
        _check(path, found)
        if not stat.S_ISREG(found.st_mode):
            raise NotPrivateError(f"{path} is not a plain file: remove it")
        if found.st_mode & 0o077:
            os.fchmod(fd, 0o600)
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_new(path: Path, text: str) -> None:
    """Write a file that only we can read in the place of what has been there."""
    path.unlink(missing_ok=True)
    with open(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
        file.write(text)


def _check(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise NotPrivateError(f"{path} is a link, and links are not followed there: remove it")
    if found.st_uid != os.geteuid():
        raise NotPrivateError(f"{path} belongs to {_user(found.st_uid)}, not to {_user(os.geteuid())}: remove it")
    if not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1:
        raise NotPrivateError(f"{path} has a second name (a hard link): remove it")


def _user(uid: int) -> str:
    import pwd  # noqa: PLC0415 - only for an error

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
