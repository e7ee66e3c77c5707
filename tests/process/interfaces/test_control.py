"""Orders and questions over the control socket of a real supervisor, also from clients that mean no good."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from pytask_supervisor.ctl import control_client
from pytask_supervisor.ctl.control_client import MasterError
from tests.process.conftest import Start
from tests.support.processes.control import NAME, Control
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

#: What no client should say, and what it is told.
REFUSED = [
    (b"\n", "no request; known are"),
    (b"hello\n", "no request; known are"),
    (b"\xff\xfe\x00\n", "no request; known are"),
    (b"[]\n", "no request; known are"),
    (b'{"do": []}\n', "no request; known are"),
    (b'{"do": "shout"}\n', "no request; known are"),
    (b"[" * 4000 + b"\n", "no request; known are"),
    (b"x" * 100_000, "a request has 4096 bytes at most"),
    (b'{"do": "scale"}\n', "workers must be a whole number, not None"),
    (b'{"do": "scale", "workers": true}\n', "workers must be a whole number, not True"),
    (b'{"do": "scale", "workers": 1e9}\n', "workers must be a whole number, not 1000000000.0"),
    (b'{"do": "scale", "workers": 100000}\n', "there can be 1 to 1000 workers"),
    (b'{"do": "stop", "slot": "1"}\n', "slot must be a whole number, not '1'"),
]


@pytest.fixture
def control(folder: Path) -> Control:
    return Control(folder / NAME)


CONFIGURATION = "[tool.pytask-supervisor]\ngraceful-timeout = {}\n"


@pytest.fixture
def supervisor(start: Start, control: Control) -> Iterator[SupervisorProcess]:
    """Two workers that are ready; stopped at the end, well."""
    with start("--workers", "2", *control.words) as started:
        started.wait_ready(2)
        yield started
        assert started.stop() == 0


def test_it_shows_each_worker_with_its_figures(
    supervisor: SupervisorProcess, control: Control, helpers: PyTaskHelpers
) -> None:
    helpers.start_tasks([("hello", {})] * 6 + [("forever", {})] * 4)
    wait_until(lambda: sum(worker["running"] for worker in control.workers()) == 4, 15)
    wait_until(lambda: sum(worker["done"] for worker in control.workers()) == 6, 15)

    told = control.ask(do="show")

    about = told["supervisor"]
    assert (about["pid"], about["label"], about["quiet"], about["stopping"]) == (
        supervisor.pid,
        "jobs:app",
        False,
        False,
    )
    assert told["ended"] == {"SUCCESS": 6, "ERROR": 0, "EXCEPTION": 0, "STOPPED": 0}
    assert {worker["slot"]: worker["pid"] for worker in told["workers"]} == supervisor.workers()
    for worker in told["workers"]:
        figures = worker["figures"]
        assert (worker["stage"], worker["restarts"], figures["up"]) == ("ready", 0, True)
        assert 1_000_000 < figures["memory"] <= figures["rss"] < 1_000_000_000
        assert 0 <= figures["lag"] < 10
        assert 0 <= figures["cpu"] <= 2
        assert 0 < worker["uptime"] < 100


def test_workers_are_scaled_and_stopped(supervisor: SupervisorProcess, control: Control) -> None:
    assert control.ask(do="scale", workers=4) == "4 workers now, 2 before"
    control.wait_stages("ready", "ready", "ready", "ready")
    assert control.ask(do="stop", slot=2).startswith("worker 2 stops")
    wait_until(lambda: [worker["slot"] for worker in control.workers()] == [1, 3, 4])
    assert control.ask(do="scale", workers=1).startswith("1 worker now")
    wait_until(lambda: [worker["slot"] for worker in control.workers()] == [1])
    with pytest.raises(MasterError, match="worker 1 is the last one"):
        control.ask(do="stop", slot=1)
    assert sorted(supervisor.workers()) == [1]
    causes = [death["cause"] for death in control.ask(do="deaths")]
    assert causes == ["was asked to stop (pytaskctl workers stop)", *["was one too many (pytaskctl workers scale)"] * 2]


def test_quiet_workers_claim_nothing_until_they_are_resumed(
    supervisor: SupervisorProcess, control: Control, helpers: PyTaskHelpers
) -> None:
    control.ask(do="quiet")
    assert control.ask(do="show")["supervisor"]["quiet"] is True
    # A worker obeys in the time that its blocking take needs to come back.
    wait_until(lambda: _is_left_alone(helpers), 15)
    control.ask(do="resume")
    wait_until(lambda: not helpers.get_new_task_ids())
    assert control.ask(do="show")["supervisor"]["quiet"] is False


def _is_left_alone(helpers: PyTaskHelpers) -> bool:
    """Whether a task that was just started is still waiting after a while in which others were taken."""
    task_id = helpers.start_task("hello")
    try:
        wait_until(lambda: helpers.get_task(task_id, "state") != "WAIT", 1.5)
    except AssertionError:
        return True
    return False


def test_a_restart_replaces_every_worker(supervisor: SupervisorProcess, control: Control) -> None:
    before = supervisor.workers()
    control.ask(do="restart")
    wait_until(lambda: [worker["restarts"] for worker in control.workers()] == [1, 1], 30)
    wait_until(lambda: control.stages() == ["ready", "ready"], 20)
    assert not set(before.values()) & set(supervisor.workers().values())


def test_a_reload_reads_the_configuration_anew(supervisor: SupervisorProcess, control: Control, folder: Path) -> None:
    (folder / "pyproject.toml").write_text(CONFIGURATION.format("'soon'"))
    with pytest.raises(MasterError, match="cannot be used, so nothing changes: graceful-timeout in "):
        control.ask(do="reload")
    (folder / "pyproject.toml").write_text(CONFIGURATION.format(7))
    control.ask(do="reload")
    wait_until(lambda: [worker["restarts"] for worker in control.workers()] == [1, 1], 30)
    control.wait_stages("ready", "ready")


def test_nonsense_is_refused_with_a_sentence(supervisor: SupervisorProcess, control: Control) -> None:
    for said, words in REFUSED:
        with control.connect() as client:
            # It may have heard enough before all is said.
            with suppress(BrokenPipeError):
                client.sendall(said)
            assert words in json.loads(_all_of(client))["refused"], said
    assert control.stages() == ["ready", "ready"]


def _all_of(client: socket.socket) -> bytes:
    received = b""
    while chunk := client.recv(65_536):
        received += chunk
    return received


def test_none_of_many_hostile_clients_holds_the_master_up(
    supervisor: SupervisorProcess, control: Control, redis_server: RedisServer
) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(control.connect())
        # Asks for much, and reads nothing.
        deaf = stack.enter_context(control.connect(b'{"do": "show"}\n' * 200))
        half = stack.enter_context(control.connect(b'{"do": "sc'))
        control.connect(b'{"do": "show"}\n').close()

        wait_until(lambda: supervisor.age() > 1.5)
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_ready(2, times=2)
        control.wait_stages("ready", "ready")
        half.sendall(b'ale", "workers": 3}\n')
        assert json.loads(_all_of(half))["said"] == "3 workers now, 2 before"
        assert json.loads(_all_of(deaf))["told"]["supervisor"]["pid"] == supervisor.pid
    supervisor.wait_ready(3)


def test_the_socket_is_its_owners_alone_and_goes_with_the_supervisor(start: Start, control: Control) -> None:
    with start("--workers", "1", *control.words) as supervisor:
        supervisor.wait_ready(1)
        assert stat.S_IMODE(control.path.stat().st_mode) == 0o600
        assert supervisor.stop() == 0
    assert not control.path.exists()


def test_no_worker_keeps_the_socket_of_a_master_that_is_gone(start: Start, control: Control) -> None:
    with ExitStack() as stack:
        supervisor = stack.enter_context(start("--workers", "1", *control.words))
        supervisor.wait_ready(1)
        waiting = stack.enter_context(control.connect())
        control.ask(do="scale", workers=2)
        supervisor.wait_ready(2)
        workers = supervisor.workers().values()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        supervisor.send(signal.SIGKILL)
        supervisor.wait()
        with pytest.raises(ConnectionRefusedError):
            control.connect()
        assert waiting.recv(1) == b""
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        # Left over, so the next one takes it.
        with start("--workers", "1", *control.words) as successor:
            successor.wait_ready(1, times=2)
            assert len(control.workers()) == 1
            assert successor.stop() == 0


def test_the_socket_of_a_living_supervisor_is_refused_with_a_sentence(
    supervisor: SupervisorProcess, control: Control, tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "jobs.py").write_text((folder / "jobs.py").read_text())
    with SupervisorProcess(other, "--app", "jobs:app", *control.words) as second:
        second.expected = ["cannot be opened"]
        assert second.wait() == 2
        last = second.text.splitlines()[-1].partition(" ERROR [master] ")[2]
        assert last.startswith("the control socket cannot be opened: another program answers at ")
    assert len(control.workers()) == 2


def test_without_a_folder_for_it_the_supervisor_works_without(start: Start, folder: Path) -> None:
    (folder / "pytask").write_text("in the way")
    with start("--workers", "1", environ={"XDG_RUNTIME_DIR": str(folder)}) as supervisor:
        supervisor.wait_for("there is no control socket, so pytaskctl cannot reach this supervisor")
        supervisor.wait_ready(1)
        assert supervisor.stop() == 0


def test_a_stopped_supervisor_is_told_from_one_that_is_gone(
    supervisor: SupervisorProcess, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_client, "TIMEOUT", 0.5)
    supervisor.send(signal.SIGSTOP)
    try:
        with pytest.raises(MasterError, match=r"does not answer within 0\.5 s: it may be stopped"):
            control.ask(do="show")
        with pytest.raises(MasterError, match="does not answer"):
            control.ask(do="scale", workers=5)
    finally:
        supervisor.send(signal.SIGCONT)
    # What was told as failed is not done later.
    assert len(control.workers()) == 2
    assert "pytaskctl workers scale" not in supervisor.text
