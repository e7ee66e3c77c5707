"""What the README says is done as it says: its first task, its commands, and those of ``make run``."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.processes.supervisor_process import ROOT, SupervisorProcess
from tests.support.waiting import wait_until

README = (ROOT / "README.rst").read_text("utf-8")
ABOUT_RUN = (ROOT / "Makefile").read_text("utf-8").partition("define about_run")[2].partition("endef")[0]


def code(number: int) -> str:
    """A Python block of the README."""
    return textwrap.dedent(re.findall(r"^\.\. code:: python\n\n((?:    .*\n|\n)+)", README, re.MULTILINE)[number])


def command(start: str, text: str = README) -> list[str]:
    """The words of a command line of ours, without the program."""
    found = re.search(rf"^    \S*/bin/{re.escape(start)}.*$", text, re.MULTILINE)
    assert found is not None, start
    return shlex.split(found[0])[1:]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the README's first task in it, whose embedded server is nobody else's."""
    run_time = tempfile.mkdtemp(prefix="pyt-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", run_time)
    (tmp_path / "mytasks.py").write_text(code(0))
    yield tmp_path
    shutil.rmtree(run_time)


def ctl(words: list[str]) -> str:
    """What ``pytaskctl`` prints."""
    program = "from pytask_supervisor.ctl import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_task_is_started_by_shell_python_and_plain_redis(home: Path) -> None:
    with SupervisorProcess(home, *command("pytask-supervisor --workers 4 --redis embedded --tasks")) as supervisor:
        supervisor.wait_ready(4)
        assert ctl(command("pytaskctl --redis embedded start greet")) == "Hello, Ada!\n"

        assert "'task': 'greet'" in run_python(code(1))

        socket = Path(os.environ["XDG_RUNTIME_DIR"], "pytask", "valkey.sock")
        with contextlib.closing(redis.Redis(unix_socket_path=str(socket), decode_responses=True)) as client:
            typed = [shlex.split(line) for line in re.findall(r"^    > (.*)$", README, re.MULTILINE)]
            with client.pubsub(ignore_subscribe_messages=True) as events:
                events.subscribe("task-1")
                assert events.get_message(timeout=5) is None  # that it has subscribed
                for words in typed[:2]:
                    client.execute_command(*words)
                first = wait_until(lambda: events.get_message(timeout=1))
                assert json.loads(first["data"]) == {"event": "greeting", "data": {"name": "Ada"}}
            wait_until(lambda: client.hget("task-1", "state") == "SUCCESS")
            assert client.execute_command(*typed[2])["output"] == '"Hello, Ada!"'
        assert supervisor.stop() == 0


def test_the_commands_of_make_run_do_what_it_says(home: Path) -> None:
    about = ABOUT_RUN.replace("$(BIN)", ".venv/bin")
    words = ("--workers", "4", "--redis", "embedded", "--app", "docs.examples.hello:app")
    assert " ".join(words) in (ROOT / "Makefile").read_text("utf-8")
    with SupervisorProcess(home, *words) as supervisor:
        supervisor.wait_ready(4)
        assert ctl(command("pytaskctl --redis embedded start", about)) == "Hello, you!\n"
        supervisor.wait_for("sample-clock: tick 1")
        supervisor.wait_for("Hello, Ada!")
        table = [line.split("\t") for line in io.StringIO(ctl(command("pytaskctl --redis embedded list", about)))]
        assert ["sample-clock", "clock", "RUNNING"] in [row[:3] for row in table]
        ctl(command("pytaskctl --redis embedded stop", about))
        supervisor.wait_for("sample-clock: stopped after")
        assert supervisor.stop() == 0
