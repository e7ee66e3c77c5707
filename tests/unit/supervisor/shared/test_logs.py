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

from pytask_supervisor.shared.lines import PATIENCE, LineWriter, forgiving_stream, make_turns
from pytask_supervisor.shared.logs import JsonFormatter, StderrHandler, TextFormatter
from pytask_supervisor.shared.summing import MOST_ALIKE, PERIOD, Sums


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
    assert writer.reason == "the reader does not read them"
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


def ours(message: str, *arguments: object, **attributes: object) -> logging.LogRecord:
    """A record of a logger of pytask's own."""
    return record(message, *arguments, name="pytask.runner", **attributes)


#: A line of the master's, a terminal's commands, a change of the direction of writing.
FORGED = "x\n2026-11-25 00:00:00,000 INFO [master] all workers have left \x1b[31mFORGED\x1b]0;pwned\x07\u202e\x9b2J\r"


@pytest.mark.parametrize("message", ["Task %r (%s) ended as ERROR: %.200s", "Worker %s, %s: %s", "%r %r %r"])
def test_no_name_and_no_text_of_others_can_pass_for_a_line_of_the_log(message: str) -> None:
    line = TextFormatter("worker 2").format(ours(message, FORGED, FORGED, ValueError(FORGED), task_id=FORGED))
    assert line.isprintable(), ascii(line)
    assert "FORGED" in line


def test_what_a_program_says_in_several_lines_has_a_margin_and_its_escapes_do_nothing() -> None:
    try:
        raise RuntimeError(FORGED)
    except RuntimeError:
        failed = record(FORGED, exc_info=sys.exc_info())
    first, *others = TextFormatter("worker 2").format(failed).split("\n")
    assert first.endswith("[worker 2] x")
    assert all(line.startswith("  ") and line.isprintable() for line in others), others


def test_a_traceback_in_a_line_of_ours_keeps_its_lines() -> None:
    lines = (
        TextFormatter("w").format(ours("Task %r failed:\n%s", "a\nb", "Traceback\n  File x\nValueError: y")).split("\n")
    )
    assert lines[0].endswith(r"Task 'a\nb' failed:")
    assert lines[1:] == ["  Traceback", "  File x", "  ValueError: y"]


@pytest.mark.parametrize("formatter", [TextFormatter("w"), JsonFormatter({})])
def test_each_field_and_the_whole_line_have_a_bound(formatter: logging.Formatter) -> None:
    long = "\0" * 3_000_000
    began = time.process_time()
    assert len(formatter.format(ours("The id %r has no hash", long, task_id=long))) < 5_000
    assert len(formatter.format(ours("Task %s", long))) < 30_000
    assert len(formatter.format(ours("%r %s", [long] * 300, long.encode()))) < 100_000
    assert len(formatter.format(record(long))) < 100_000
    try:
        raise RuntimeError(long)
    except RuntimeError:
        assert len(formatter.format(record("x", exc_info=sys.exc_info()))) < 100_000
    assert time.process_time() - began < 3


def test_what_is_cut_says_how_much_is_left_out_and_cuts_no_password_in_two() -> None:
    said = TextFormatter("w").format(ours("no %r", "x" * 120 + "redis://:S3CRET" + "y" * 500 + "CRET@host"))
    assert re.search(r"\[… \d+ characters left out …\]'$", said)
    assert "CRET" not in said


def test_of_thousands_of_lines_that_are_alike_most_are_counted(tmp_path: Path, stderr_is) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "log"
    fd = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    stderr_is(fd)
    handler = StderrHandler(None)
    handler.setFormatter(TextFormatter("worker 1"))
    for number in range(5_000):
        handler.handle(ours("The id %r has no hash", f"junk-{number}"))
    handler.handle(ours("Another thing"))
    for _ in range(300):
        handler.handle(record("a program may say what it likes as often as it likes"))
    handler.tell_left_out(at_once=True)
    lines = file.read_text().splitlines()
    assert len(lines) == MOST_ALIKE + 1 + 300 + 1
    assert "The id 'junk-0' has no hash" in lines[0]
    count = 5_000 - MOST_ALIKE
    sentence = f"{count} more lines like this one were left out: The id 'junk-4999' has no hash"
    assert lines[-1].endswith(f"WARNING [worker 1] {sentence}")
    handler.tell_left_out(at_once=True)
    assert len(file.read_text().splitlines()) == len(lines)
    os.close(fd)


def test_after_a_while_lines_of_that_kind_are_written_again() -> None:
    now = [0.0]
    sums = Sums(lambda: now[0])
    line = ours("The id %r has no hash", "a")
    assert [sums.takes(line) for _ in range(MOST_ALIKE + 2)] == [True] * MOST_ALIKE + [False] * 2
    assert sums.due() == []
    now[0] = PERIOD
    assert [each.getMessage() for each in sums.due()] == [
        "2 more lines like this one were left out: The id 'a' has no hash"
    ]
    assert sums.takes(line)
