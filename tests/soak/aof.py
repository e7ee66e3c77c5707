"""The server's own log of writes, as transactions: the complete history of every key, with nothing polled or missed.

The server must run with ``appendonly yes`` and never rewrite the file (``--auto-aof-rewrite-percentage 0``). Scripts
appear as what they wrote, between MULTI and EXEC. Called by ``stage``; feeds ``replay``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

#: What a server must be told so that its log is complete.
ARGUMENTS = ("--auto-aof-rewrite-percentage", "0")

Command = list[str]


def transactions(folder: Path) -> Iterator[list[Command]]:
    """What was written in the server's folder, in order; a command outside of MULTI is a transaction of its own."""
    together: list[Command] | None = None
    with _file(folder).open("rb") as file:
        for command in _commands(file):
            word = command[0].upper()
            if word == "MULTI":
                together = []
            elif word == "EXEC":
                yield together or []
                together = None
            elif together is None:
                yield [command]
            else:
                together.append(command)


def forget(folder: Path) -> None:
    """Let a server that was shut down come back empty, with its log still whole: the last line of it loses all."""
    with _file(folder).open("ab") as file:
        file.write(b"*1\r\n$8\r\nFLUSHALL\r\n")


def size(folder: Path) -> int:
    """Bytes that are written now."""
    return _file(folder).stat().st_size


def cut(folder: Path, length: int) -> None:
    """Let a server that was killed come back without what it wrote since then, as after a power cut."""
    os.truncate(_file(folder), length)


def _file(folder: Path) -> Path:
    (path,) = (folder / "appendonlydir").glob("*.incr.aof")
    return path


def _commands(file: BinaryIO) -> Iterator[Command]:
    """The commands up to the end or to one that a killed server did not finish writing."""
    while line := file.readline():
        if line[:1] == b"#":  # an annotation, such as the time
            continue
        words = []
        for _ in range(int(line[1:])):
            size = int(file.readline()[1:] or -1)
            word = file.read(size + 2) if size >= 0 else b""
            if not word.endswith(b"\r\n"):
                return
            words.append(word[:-2].decode("utf-8", "surrogateescape"))
        yield words
