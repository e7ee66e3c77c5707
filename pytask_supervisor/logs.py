"""Log lines on stderr, for master and children: when, how bad, who, and a sentence.

A record is one ``write``, so that lines of several processes do not run into each other, and a
terminal or pipe that has gone away disturbs nobody.
"""

from __future__ import annotations

import logging
import os

from pytask_supervisor.redact import redact

STDERR = 2


class StderrHandler(logging.Handler):
    """Straight to the descriptor: no buffer that a fork could copy or an exit could lose."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; passwords in URLs are left out."""
        try:
            line = redact(self.format(record)) + "\n"
        except Exception:  # noqa: BLE001 - logging's own way: a wrong record must not stop the program
            self.handleError(record)
            return
        write_line(line)


def write_line(line: str) -> None:
    """Write, if anybody listens."""
    data = line.encode(errors="backslashreplace")
    try:
        while data:
            data = data[os.write(STDERR, data) :]
    except OSError:
        pass


def counted(number: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def set_up(who: str, level: str) -> None:
    """All loggers of this process speak as ``who`` from now on: ``master``, ``worker 2``."""
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s [{who}] %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
