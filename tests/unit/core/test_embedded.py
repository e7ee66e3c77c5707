"""The embedded server: real guardians and real servers, as a supervisor starts and leaves them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis

from tests.support.processes.guardian import PROGRAM, Guardian, is_alive, wait_for_death
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    # pytest's own folders have names that are too long for a unix socket.
    path = Path(tempfile.mkdtemp(prefix="pyt-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def test_a_guardian_starts_a_server_and_says_where(folder: Path) -> None:
    with Guardian(folder / "new" / "one") as guardian:
        report = guardian.report()
        assert report["started"] is True
        assert report["url"] == f"unix://{folder}/new/one/valkey.sock"
        assert is_alive(report["pid"])
        assert (folder / "new" / "one").stat().st_mode & 0o777 == 0o700
        with closing(guardian.client()) as client:
            assert client.config_get("appendonly", "appendfsync", "maxmemory-policy", "port") == {
                "appendonly": "yes",
                "appendfsync": "everysec",
                "maxmemory-policy": "noeviction",
                "port": "0",
            }


def test_the_url_works_for_a_folder_with_odd_characters(folder: Path) -> None:
    with Guardian(folder / 'a b%20?"é') as guardian:
        url = guardian.report()["url"]
        with closing(redis.Redis.from_url(url)) as client:
            assert client.ping()


def test_a_second_guardian_finds_the_server_and_leaves_it_alone(folder: Path) -> None:
    with Guardian(folder) as first:
        started = first.report()
        with Guardian(folder) as second:
            assert second.report() == {**started, "started": False}
            second.release()
            assert second.wait() == 0
        # The second one's end is not the server's.
        assert is_alive(started["pid"])
        with closing(first.client()) as client:
            assert client.ping()


def test_a_second_guardian_leaves_once_the_server_is_gone(folder: Path) -> None:
    with Guardian(folder) as first:
        first.report()
        with Guardian(folder) as second:
            second.report()
            first.release()
            assert first.wait() == 0
            assert second.wait() == 0


def test_five_started_at_the_same_moment_share_one_server(folder: Path) -> None:
    with ExitStack() as stack:
        guardians = [stack.enter_context(Guardian(folder)) for _ in range(5)]
        reports = [guardian.report() for guardian in guardians]
        assert [report["started"] for report in reports].count(True) == 1
        assert len({report["pid"] for report in reports}) == 1


def test_the_end_of_the_pipe_stops_the_server_and_its_data_is_there_again(folder: Path) -> None:
    with Guardian(folder) as guardian:
        pid = guardian.report()["pid"]
        with closing(guardian.client()) as client:
            client.rpush("tasks", *range(1000))
        guardian.release()
        assert guardian.wait() == 0
        assert not is_alive(pid)
        assert not (folder / "valkey.sock").exists()
    with Guardian(folder) as guardian:
        assert guardian.report()["started"] is True
        with closing(guardian.client()) as client:
            assert client.llen("tasks") == 1000


def test_the_server_lives_while_any_holder_of_the_pipe_does(folder: Path) -> None:
    with Guardian(folder) as guardian:
        pid = guardian.report()["pid"]
        # Given a child that inherited the writing end, like a worker after its master's kill -9
        worker = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[guardian.writing_end])
        guardian.release()
        with pytest.raises(subprocess.TimeoutExpired):
            guardian.process.wait(timeout=0.3)
        assert is_alive(pid)
        # When it ends, so does the server
        worker.communicate()
        assert guardian.wait() == 0
        assert not is_alive(pid)


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(folder / "valkey.sock"))
    with Guardian(folder) as guardian:
        assert guardian.report()["started"] is True
        with closing(guardian.client()) as client:
            assert client.ping()


def test_ctrl_c_and_a_closed_terminal_leave_the_server_alone(folder: Path) -> None:
    with Guardian(folder) as guardian:
        report = guardian.report()
        for signum in (signal.SIGINT, signal.SIGHUP):
            guardian.process.send_signal(signum)
        # A terminal sends to its foreground group: neither of the two is in ours.
        assert os.getsid(guardian.process.pid) != os.getsid(0)
        assert os.getsid(report["pid"]) != os.getsid(0)
        with pytest.raises(subprocess.TimeoutExpired):
            guardian.process.wait(timeout=0.3)
        assert is_alive(report["pid"])


def test_sigterm_stops_the_server_then_the_guardian(folder: Path) -> None:
    with Guardian(folder) as guardian:
        pid = guardian.report()["pid"]
        guardian.process.terminate()
        assert guardian.wait() == 0
        assert not is_alive(pid)


def test_a_server_that_is_killed_is_started_again_with_its_data(folder: Path) -> None:
    with Guardian(folder) as guardian:
        pid = guardian.report()["pid"]
        with closing(guardian.client()) as client:
            client.set("kept", "yes")
            client.execute_command("WAITAOF", 1, 0, 5000)
        os.kill(pid, signal.SIGKILL)
        assert "the embedded server died" in guardian.complaint()
        with closing(guardian.client()) as client:
            assert wait_until(lambda: _get(client, "kept"), message="the new server") == b"yes"
            assert client.info("server")["process_id"] != pid


def test_a_server_that_was_told_to_shut_down_is_started_again(folder: Path) -> None:
    with Guardian(folder) as guardian:
        pid = guardian.report()["pid"]
        with closing(guardian.client()) as client:
            client.shutdown()
        assert "the embedded server died" in guardian.complaint()
        wait_for_death(pid)
        with closing(guardian.client()) as client:
            wait_until(lambda: _answers(client), message="the new server")


def test_the_server_of_a_killed_guardian_saves_and_leaves_and_another_takes_over(
    folder: Path,
) -> None:
    with Guardian(folder) as guardian:
        pid = guardian.report()["pid"]
        with closing(guardian.client()) as client:
            client.set("kept", "yes")
        guardian.process.kill()
        with Guardian(folder) as heir:
            assert heir.report()["started"] is True
            assert not is_alive(pid)
            with closing(heir.client()) as client:
                assert client.get("kept") == b"yes"


def test_a_paused_server_is_stopped_too(folder: Path) -> None:
    with Guardian(folder) as guardian:
        pid = guardian.report()["pid"]
        os.kill(pid, signal.SIGSTOP)
        guardian.release()
        assert guardian.wait() == 0
        assert not is_alive(pid)


def test_a_supervisor_that_dies_at_once_leaves_no_server(folder: Path) -> None:
    # Given nobody that reads the line, and a pipe that has ended
    with Guardian(folder) as guardian:
        assert guardian.process.stdout is not None
        guardian.process.stdout.close()
        guardian.release()
        assert guardian.wait() == 0
    assert not (folder / "valkey.sock").exists()


def test_a_reader_that_is_gone_does_not_end_the_server(folder: Path) -> None:
    with Guardian(folder) as guardian:
        assert guardian.process.stdout is not None
        guardian.process.stdout.close()
        with closing(guardian.client()) as client:
            wait_until(lambda: _answers(client), message="the server")
        guardian.release()
        assert guardian.wait() == 0


def test_the_guardian_stays_small(folder: Path) -> None:
    with Guardian(folder) as guardian:
        guardian.report()
        status = Path(f"/proc/{guardian.process.pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        assert int(resident.split()[1]) < 20_000, resident


def test_usage_errors_end_with_code_2(folder: Path) -> None:
    for arguments, word in (([], "--hold-fd"), (["--hold-fd", "987"], "987")):
        command = [sys.executable, "-P", PROGRAM, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 2
        assert word in done.stderr


def _get(client: redis.Redis, key: str) -> object:
    try:
        return client.get(key)
    except redis.ConnectionError:
        return None


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
