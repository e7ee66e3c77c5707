"""Log lines are whole, whoever else writes; and a log that cannot be written stops nobody, and is counted."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from pytask_supervisor.lines import PATIENCE, LineWriter, forgiving_stream, make_turns
from pytask_supervisor.logs import JsonFormatter, StderrHandler, TextFormatter


def record(message: str, *arguments: object, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("shop.mail", logging.WARNING, __file__, 1, message, arguments, None)
    vars(made).update(attributes)
    return made


@pytest.fixture
def stderr_is(tmp_path: Path) -> Iterator[object]:
    """Make descriptor 2 something else for a while."""
    saved = os.dup(2)

    def become(fd: int) -> None:
        os.dup2(fd, 2)

    yield become
    os.dup2(saved, 2)
    os.close(saved)


def test_a_json_line_has_what_there_is_to_say_and_nothing_empty() -> None:
    line = JsonFormatter({"slot": 2, "worker": "host-1-abc"}).format(record("hello %s", "you", task_id="x\ny"))
    assert "\n" not in line
    said = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", said.pop("time"))
    assert said == {
        "level": "WARNING",
        "logger": "shop.mail",
        "message": "hello you",
        "pid": os.getpid(),
        "slot": 2,
        "worker": "host-1-abc",
        "task": "x\ny",
    }
    assert "task" not in json.loads(JsonFormatter({}).format(record("hello")))


def test_an_exception_is_a_string_in_json_and_passwords_are_left_out() -> None:
    try:
        raise RuntimeError("no way to redis://:hunter2@db/0")
    except RuntimeError:
        failed = record("at redis://:hunter2@db/0", exc_info=sys.exc_info())
    said = json.loads(JsonFormatter({}).format(failed))
    assert said["message"] == "at redis://:***@db/0"
    assert said["exception"].startswith("Traceback")
    assert "hunter2" not in repr(said)
    assert "hunter2" not in TextFormatter("master").format(failed)


def test_a_text_line_names_the_task_and_no_id_can_break_it() -> None:
    line = TextFormatter("worker 2").format(record("hello", task_id="one"))
    assert line.endswith(" WARNING [worker 2] [one] hello")
    assert TextFormatter("worker 2").format(record("hello", task_id="x\ny")).endswith(r" ['x\ny'] hello")


def _write_long_lines(fd: int, turns: int, who: int) -> None:
    writer = LineWriter(fd, turns)
    for number in range(40):
        writer.write(json.dumps({"who": who, "number": number, "text": "x" * 20_000}).encode() + b"\n")


def test_long_lines_of_several_processes_never_run_into_each_other() -> None:
    """Each is five times what a pipe takes at once."""
    turns = make_turns()
    assert turns is not None
    read_end, write_end = os.pipe()
    fork = get_context("fork")
    writers = [fork.Process(target=_write_long_lines, args=(write_end, turns, who)) for who in range(4)]
    for writer in writers:
        writer.start()
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        lines = [json.loads(line) for line in pipe]
    for writer in writers:
        writer.join()
    os.close(turns)
    for who in range(4):
        assert [line["number"] for line in lines if line["who"] == who] == list(range(40))


def test_a_lock_that_a_stopped_process_holds_is_not_waited_for_for_long() -> None:
    turns = make_turns()
    assert turns is not None
    read_end, write_end = os.pipe()
    fork = get_context("fork")
    told, tell = os.pipe()
    holder = fork.Process(target=_hold, args=(turns, tell))
    holder.start()
    os.read(told, 1)
    began = time.monotonic()
    assert LineWriter(write_end, turns).write(b"hello\n")
    assert PATIENCE / 2 < time.monotonic() - began < 30 * PATIENCE
    assert os.read(read_end, 100) == b"hello\n"
    holder.kill()
    holder.join()
    for fd in (turns, read_end, write_end, told, tell):
        os.close(fd)


def _hold(turns: int, tell: int) -> None:
    fcntl.lockf(turns, fcntl.LOCK_EX)
    os.write(tell, b"!")
    time.sleep(1000)


def test_a_reader_that_does_not_read_costs_lines_but_no_time() -> None:
    read_end, write_end = os.pipe()
    writer = LineWriter(write_end)
    began = time.monotonic()
    written = [writer.write(b"x" * 999 + b"\n") for _ in range(1000)]
    # It waits once, not for each line.
    assert time.monotonic() - began < 10 * PATIENCE
    assert writer.dropped == written.count(False) > 900
    assert writer.reason == "nobody reads them"
    whole = os.read(read_end, 65_536)
    assert whole.endswith(b"\n")
    assert writer.write(b"again\n")
    os.close(read_end)
    os.close(write_end)


def test_what_was_dropped_is_told_once_it_works_again(tmp_path: Path, stderr_is) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "log"
    fd = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    stderr_is(fd)
    handler = StderrHandler(None)
    handler.setFormatter(TextFormatter("master"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (80, before[1]))
    try:
        for number in range(4):
            handler.handle(record("number %d", number))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert handler.writer.dropped == 3
    handler.handle(record("number %d", 4))
    handler.handle(record("number %d", 5))
    messages = [line.partition("[master] ")[2] for line in file.read_text().splitlines()]
    assert messages[0] == "number 0"
    # What there was room for of the second line stands by itself.
    assert messages[2:] == ["3 log lines dropped: File too large", "number 4", "number 5"]
    os.close(fd)


def test_prints_that_get_lost_are_told_by_log_lines_now_and_then(tmp_path: Path, stderr_is) -> None:  # type: ignore[no-untyped-def]
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    stderr_is(fd)
    handler = StderrHandler(None)
    handler.setFormatter(TextFormatter("worker 1"))
    full = os.open("/dev/full", os.O_WRONLY)
    handler.prints = LineWriter(full)
    stream = forgiving_stream(full, handler.prints)
    for number in range(3):
        print("lost", file=stream)
        handler.handle(record("number %d", number))
    messages = [line.partition("[worker 1] ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert messages == ["1 printed line dropped: No space left on device", "number 0", "number 1", "number 2"]
    assert handler.dropped == 3
    stream.close()
    os.close(fd)
    os.close(full)


def test_a_print_to_a_closed_pipe_raises_nothing() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    writer = LineWriter(write_end)
    stream = forgiving_stream(write_end, writer)
    print("hello", file=stream)
    print("you", file=stream, flush=True)
    assert writer.dropped == 2
    assert writer.reason == "Broken pipe"
    stream.close()
    os.close(write_end)
