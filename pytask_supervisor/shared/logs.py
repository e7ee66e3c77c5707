"""Log lines on stderr, as text or JSON: time, level, process, task, and a sentence.

A line is written whole or dropped, and drops are counted (``lines.py``): no task stops because of a log. What others
wrote is bounded and escaped in it (``shown.py``). Where thousands of lines are alike most are counted (``summing.py``).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from _thread import RLock
from copy import copy
from datetime import UTC, datetime
from typing import Any

from pytask_supervisor.shared.lines import LineWriter, forgiving_stream, make_turns
from pytask_supervisor.shared.redact import redact
from pytask_supervisor.shared.shown import LONGEST_NAME, LONGEST_TEXT, as_block, cut, message_of
from pytask_supervisor.shared.summing import Sums

STDOUT, STDERR = 1, 2
#: Seconds between two notices of lost prints. Stdout may be gone for good while stderr works. Shorter: counts are
#: fresher. Longer: less noise.
PRINTS_TOLD_EVERY = 10.0


class StderrHandler(logging.Handler):
    """Straight to the descriptor: no buffer that a fork could copy or an exit could lose."""

    def __init__(self, turns: int | None) -> None:
        # A lock of threads, not of greenlets: what it guards never yields. A lock of gevent's, shared by greenlets and
        # native threads, would hang them for ever.
        self._lock = RLock()
        super().__init__()
        self.turns = turns
        self.writer = LineWriter(STDERR, turns)
        #: For what tasks print; see ``forgive_prints``.
        self.prints = LineWriter(STDOUT, turns)
        self._prints_due = float("-inf")
        self._sums = Sums()
        # Made now: making one asks for the current thread, and gevent would answer a native thread with a greenlet.
        self._notice = logging.LogRecord("pytask.supervisor", logging.WARNING, __file__, 0, "", None, None)

    @property
    def lock(self) -> RLock:
        """A native one, even after gevent has given its own locks to all handlers."""
        return self._lock

    @lock.setter
    def lock(self, _other: object) -> None:
        return

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. When writing works again, first report how many lines were lost."""
        self.tell_left_out()
        if self._sums.takes(record):
            self._emit(record)

    def tell_left_out(self, *, at_once: bool = False) -> None:
        """Report how many similar lines were left out, once their period is over or ``at_once``."""
        for summed in self._sums.due(at_once=at_once):
            self._emit(summed)

    def _emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - logging's own way: a wrong record must not stop the program
            self.handleError(record)
            return
        if self.writer.dropped > self.writer.told:
            self._tell_dropped(self.writer, "log line")
        if self.prints.dropped > self.prints.told and time.monotonic() >= self._prints_due:
            self._prints_due = time.monotonic() + PRINTS_TOLD_EVERY
            self._tell_dropped(self.prints, "printed line")
        self._write(line)

    @property
    def dropped(self) -> int:
        """How many lines were lost."""
        return self.writer.dropped + self.prints.dropped

    def _tell_dropped(self, writer: LineWriter, noun: str) -> None:
        dropped, before = writer.dropped, self.writer.dropped
        text = f"{counted(dropped - writer.told, noun)} dropped: {writer.reason}"
        notice, now = copy(self._notice), time.time()
        notice.msg, notice.created, notice.msecs = text, now, now % 1 * 1000
        if self._write(self.format(notice)):
            writer.told = dropped
        else:
            self.writer.dropped = before  # The notice itself does not count.

    def _write(self, line: str) -> bool:
        return self.writer.write(line.encode(errors="backslashreplace") + b"\n")


class TextFormatter(logging.Formatter):
    """``2026-11-23 12:00:00,000 INFO [worker 2] [the-task] what it says``; passwords in URLs are left out."""

    def __init__(self, who: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)s [{who}] %(task)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """As a line. More lines, of a traceback or of a program's own message, are indented."""
        task_id = getattr(record, "task_id", None)
        known = None if task_id is None else cut(str(task_id), LONGEST_NAME)
        record.task = "" if known is None else f"[{known if known.isprintable() else ascii(known)}] "
        record.message = message_of(record)
        record.asctime = self.formatTime(record)
        return as_block(redact("\n".join([self.formatMessage(record), *_below(self, record).values()])))


class JsonFormatter(logging.Formatter):
    """One object a line. ``facts`` go into each: in a worker its slot and its id in Redis."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.facts = facts

    def format(self, record: logging.LogRecord) -> str:
        """As JSON. A key without a value is left out."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        line: dict[str, Any] = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(message_of(record)),
            "pid": record.process,
            **self.facts,
        }
        task_id = getattr(record, "task_id", None)
        if task_id is not None:
            line["task"] = redact(cut(str(task_id), LONGEST_NAME))
        return json.dumps({**line, **{key: redact(text) for key, text in _below(self, record).items()}})


def _below(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    """What follows a message: the exception, the stack."""
    found = {}
    if record.exc_info or record.exc_text:
        text = record.exc_text or formatter.formatException(record.exc_info or (None, None, None))
        found["exception"] = cut(text, LONGEST_TEXT)
    if record.stack_info:
        found["stack"] = cut(formatter.formatStack(record.stack_info), LONGEST_TEXT)
    return found


def set_up(who: str, level: str, form: str = "text", slot: int | None = None) -> StderrHandler:
    """Let all loggers of this process write as ``who``: ``master``, ``worker 2``. Returns their handler."""
    root = logging.getLogger()
    inherited = next((handler for handler in root.handlers if isinstance(handler, StderrHandler)), None)
    handler = StderrHandler(inherited.turns if inherited else make_turns())
    facts = {} if slot is None else {"slot": slot}
    handler.setFormatter(JsonFormatter(facts) if form == "json" else TextFormatter(who))
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    return handler


def name_worker(worker_id: str, which_task: logging.Filter) -> None:
    """Name the worker, and the task that ``which_task`` notes, in each line from now on."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(which_task)
        if isinstance(handler.formatter, JsonFormatter):
            handler.formatter.facts["worker"] = worker_id


def forgive_prints() -> None:
    """Let what tasks print go out line by line too, and never raise when the reader is gone."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StderrHandler):
            sys.stdout = forgiving_stream(STDOUT, handler.prints)
            sys.stderr = forgiving_stream(STDERR, handler.writer)


def tell_left_out(*, at_once: bool = False) -> None:
    """Report how many similar log lines were left out in periods that are over; ``at_once``: in all."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StderrHandler):
            handler.tell_left_out(at_once=at_once)


def dropped_lines() -> int:
    """How many lines of this process, logged or printed, were lost."""
    handlers = logging.getLogger().handlers
    return sum(handler.dropped for handler in handlers if isinstance(handler, StderrHandler))


def write_line(line: str) -> None:
    """Write a line as it is, where loggers are not set up or must not be used. It may be lost."""
    LineWriter(STDERR).write(line.encode(errors="backslashreplace"))


def counted(number: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
