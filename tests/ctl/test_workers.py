"""``pytaskctl workers`` against real supervisors, and against none."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytask_supervisor.ctl.workers import COLUMNS
from tests.ctl.conftest import Done, run_ctl
from tests.support.processes.pty_process import PtyProcess
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

Ask = Callable[..., Done]

JOBS = """
import gevent
from pytask_core import Task

class Forever(Task):
    NAME = "forever"

    def start(self):
        gevent.sleep(1000)
"""


@pytest.fixture(autouse=True)
def run_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session of its own, with no supervisor but this test's."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def ask() -> Ask:
    """Run ``pytaskctl workers``; no Redis is there."""
    return lambda *words: run_ctl("workers", *words, environ={"PYTASK_REDIS_URL": "unix:///nowhere"})


def started(folder: Path, server: RedisServer, *words: str) -> SupervisorProcess:
    folder.mkdir(exist_ok=True)
    (folder / "jobs.py").write_text(JOBS)
    return SupervisorProcess(folder, "--tasks", "jobs", "--redis", server.url, *words)


@pytest.fixture
def supervisor(tmp_path: Path, redis_server: RedisServer) -> Iterator[SupervisorProcess]:
    with started(tmp_path / "app", redis_server, "--workers", "2") as made:
        made.wait_ready(2)
        yield made
        assert made.stop() == 0


@pytest.mark.parametrize("words", [[], ["--deaths"], ["scale", "2"], ["restart"], ["--json"]])
def test_without_a_supervisor_it_is_one_sentence_and_exit_code_1(ask: Ask, words: list[str]) -> None:
    done = ask(*words)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "pytaskctl: none of your supervisors runs here; if its socket is elsewhere, give --control-socket PATH\n"
    )


def test_a_socket_without_a_supervisor_is_named(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    assert ask("--control-socket", str(path)).err == f"pytaskctl: no supervisor answers at {path}\n"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        assert ask("--control-socket", str(path)).err == f"pytaskctl: no supervisor answers at {path}\n"
    assert "a unix socket's path at most" in ask("--control-socket", "/" + "x" * 200).err


def test_one_that_speaks_something_else_is_no_supervisor(ask: Ask, redis_server: RedisServer) -> None:
    done = ask("--control-socket", redis_server.url.removeprefix("unix://").partition("?")[0])
    assert done.code == 1
    assert "gave an answer that makes no sense" in done.err


def test_a_line_for_each_worker_tells_what_it_is_at(ask: Ask, supervisor: SupervisorProcess) -> None:
    wait_until(lambda: all(line[7].endswith("MiB") for line in ask().lines[1:]))
    head, *lines = ask().lines
    assert head == list(COLUMNS)
    assert {int(line[0]): int(line[1]) for line in lines} == supervisor.workers()
    for _, _, stage, uptime, running, done, rate, _, cpu, lag, restarts in lines:
        assert (stage, running, done, rate, restarts) == ("ready", "2", "0", "0", "0")
        assert uptime.endswith(" s")
        assert cpu.endswith(" %")
        assert lag.endswith(" ms")
    told = ask("--json").json
    assert [worker["stage"] for worker in told["workers"]] == ["ready", "ready"]
    assert told["supervisor"]["label"] == "jobs"


def test_a_person_gets_a_table_that_fits_a_terminal(supervisor: SupervisorProcess) -> None:
    program = "from pytask_supervisor.ctl import run; run()"
    with PtyProcess(program, "workers", environ={"XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]}) as ctl:
        assert ctl.wait() == 0
        wait_until(lambda: ctl.text.count("ready") == 2)
        head, first, second = (line.split() for line in ctl.text.splitlines() if line.strip())
        assert head == list(COLUMNS)
        assert {int(first[1]), int(second[1])} == set(supervisor.workers().values())


def test_orders_are_carried_out_and_answered_with_a_sentence(ask: Ask, supervisor: SupervisorProcess) -> None:
    assert ask("scale", "3").out == "3 workers now, 2 before\n"
    supervisor.wait_ready(3)
    assert ask("stop", "--json", "2").json == {"done": True, "said": "worker 2 stops; 2 workers now"}
    assert ask("quiet").out.startswith("workers are quiet")
    assert ask("--json").json["supervisor"]["quiet"] is True
    assert ask("resume").out == "workers claim again\n"
    assert [line for line in supervisor.lines("INFO", "master") if "workers claim again" in line] == [
        "pytaskctl workers resume: workers claim again"
    ]
    refused = ask("stop", "7")
    assert (refused.code, refused.out, refused.err) == (1, "", "pytaskctl: there is no worker 7; there are: 1, 3\n")
    assert ask("restart").out.startswith("2 workers to be replaced")
    wait_until(lambda: [line[10] for line in ask().lines[1:]] == ["1", "1"], 30)
    wait_until(lambda: sorted(supervisor.workers()) == [1, 3])
    assert ask("restart", "3").out == "1 worker to be replaced, one after another\n"
    wait_until(lambda: [line[10] for line in ask().lines[1:]] == ["1", "2"], 30)
    wait_until(lambda: sorted(supervisor.workers()) == [1, 3])
    refused = ask("restart", "7")
    assert (refused.code, refused.err) == (1, "pytaskctl: there is no worker 7; there are: 1, 3\n")


def test_deaths_are_told_in_words(ask: Ask, supervisor: SupervisorProcess) -> None:
    assert ask("--deaths").out == ""
    pid = supervisor.workers()[2]
    supervisor.send(signal.SIGKILL, slot=2)
    wait_until(lambda: ask("--deaths").out)
    ((when, text, uptime, running),) = ask("--deaths").lines
    assert when[:2] == "20"
    assert text.startswith(f"worker 2 (pid {pid}) was killed by SIGKILL")
    assert (uptime.endswith(" s"), running.isdigit()) == (True, True)
    (death,) = ask("--deaths", "--json").json
    assert (death["slot"], death["pid"], death["kind"]) == (2, pid, "signal")
    supervisor.wait_ready(2, times=2)


def test_of_several_supervisors_one_must_be_named(
    ask: Ask, supervisor: SupervisorProcess, tmp_path: Path, redis_server: RedisServer, run_time: Path
) -> None:
    with started(tmp_path / "other", redis_server, "--workers", "1") as other:
        other.wait_ready(1)
        done = ask()
        assert done.code == 1
        assert done.err.startswith("pytaskctl: 2 supervisors run here; name one with --control-socket: ")
        paths = {pid: run_time / "pytask" / f"supervisor-{pid}.sock" for pid in (supervisor.pid, other.pid)}
        assert all(f"{path} (jobs)" in done.err for path in paths.values())
        assert len(ask("--control-socket", str(paths[other.pid])).lines) == 1 + 1
        named = {"PYTASK_CONTROL_SOCKET": str(paths[supervisor.pid])}
        assert len(run_ctl("workers", environ=named).lines) == 1 + 2
        # One that was killed leaves its socket, which nobody takes for a supervisor.
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert paths[other.pid].exists()
        assert len(ask().lines) == 1 + 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["scale"], "workers scale: how many?"),
        (["scale", "many"], "workers scale: how many? 'many' is not a whole number"),
        (["scale", "-3"], "workers scale: how many? '-3' is not a whole number"),
        (["scale", "-3"], "-3"),
        (["stop"], "workers stop: which slot?"),
        (["restart", "all"], "workers restart: which slot? 'all' is not a whole number"),
        (["quiet", "2"], "workers: one word too many: '2'"),
        (["scale", "2", "3"], "workers: one word too many: '3'"),
        (["dance"], "invalid choice: 'dance'"),
        (["--deaths", "restart"], "cannot be used together"),
        (["--wait"], "workers: --wait is only for restart and reload"),
        (["scale", "2", "--wait"], "workers: --wait is only for restart and reload"),
        (["reload", "--timeout", "5"], "workers: --timeout is only for --wait"),
        (["reload", "--wait", "--timeout", "0"], "must be more than 0 and at most 86400 seconds, not 0"),
        (["reload", "--wait", "--timeout", "nan"], "must be more than 0 and at most 86400 seconds, not nan"),
        (["restart", "--wait", "--timeout", "soon"], "'soon'"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(ask: Ask, words: list[str], sentence: str) -> None:
    done = ask(*words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert sentence in done.err
