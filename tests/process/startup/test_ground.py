"""Where the master runs, and as whom: pidfile, user, group, umask."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import JOBS, Start
from tests.support.processes.supervisor_process import ROOT, SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def others_may_run_us() -> None:
    """Skip where Python is installed in a folder of root's own."""
    try:
        subprocess.run([sys.executable, "-c", "import pytask_supervisor"], cwd=ROOT, user="daemon", check=True)
    except PermissionError:
        pytest.skip(f"user daemon may not run {sys.executable}")


def test_a_pidfile_holds_the_masters_id_and_is_removed_at_the_end(start: Start, folder: Path) -> None:
    with start("--workers", "1", "--pidfile", "here.pid") as supervisor:
        supervisor.wait_ready(1)
        assert (folder / "here.pid").read_text() == f"{supervisor.pid}\n"
        assert supervisor.stop() == 0
        assert not (folder / "here.pid").exists()


def test_a_second_supervisor_with_the_same_pidfile_is_one_line_and_exit_code_2(start: Start, folder: Path) -> None:
    words = ["--workers", "1", "--pidfile", "here.pid"]
    with start(*words) as supervisor:
        supervisor.wait_ready(1)
        done = subprocess.run(
            [sys.executable, "-m", "pytask_supervisor", *words, "--app", "jobs:app"],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f"another pytask-supervisor runs as process {supervisor.pid}" in done.stderr
        assert (folder / "here.pid").read_text() == f"{supervisor.pid}\n"
        assert supervisor.stop() == 0


def test_the_pidfile_of_a_killed_master_stops_nobody_even_while_its_workers_live(start: Start, folder: Path) -> None:
    with start("--workers", "1", "--pidfile", "here.pid") as killed:
        killed.wait_ready(1)
        (worker,) = killed.workers().values()
        # It holds nothing of the master's, so it must not hold the lock either.
        os.kill(worker, signal.SIGSTOP)
        killed.send(signal.SIGKILL)
        killed.wait()
        with start("--workers", "1", "--pidfile", "here.pid") as supervisor:
            supervisor.wait_for(f"was left behind by process {killed.pid}; it is ours now")
            supervisor.wait_for("is ready", 2)
            # A process that is stopped and an orphan is woken by the kernel, and may have left by now.
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            wait_until(lambda: not psutil.pid_exists(worker))
            assert supervisor.stop() == 0
            assert not (folder / "here.pid").exists()


def test_a_pidfile_with_the_number_of_a_living_stranger_stops_nobody(start: Start, folder: Path) -> None:
    """The kernel gives numbers out again."""
    (folder / "here.pid").write_text(f"{os.getpid()}\n")
    with start("--workers", "1", "--pidfile", "here.pid") as supervisor:
        supervisor.wait_ready(1)
        assert (folder / "here.pid").read_text() == f"{supervisor.pid}\n"
        assert supervisor.stop() == 0


def test_a_pidfile_that_is_somebody_elses_by_now_is_left_alone(start: Start, folder: Path) -> None:
    with start("--workers", "1", "--pidfile", "here.pid") as supervisor:
        supervisor.wait_ready(1)
        (folder / "here.pid").unlink()
        (folder / "here.pid").write_text("somebody's")
        assert supervisor.stop() == 0
        assert (folder / "here.pid").read_text() == "somebody's"


def test_a_pidfile_that_cannot_be_written_is_exit_code_2(start: Start) -> None:
    with start("--workers", "1", "--pidfile", "/nowhere/here.pid") as supervisor:
        supervisor.expected = ["cannot write the pidfile /nowhere/here.pid: No such file"]
        assert supervisor.wait() == 2


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, with ``jobs.py`` in it."""
    made = Path(tempfile.mkdtemp(prefix="pytask-ground-"))
    made.chmod(0o777)
    (made / "jobs.py").write_text(
        JOBS.replace('return f"{self.text} from {os.getpid()}"', 'open("made", "w").close(); return os.environ["HOME"]')
    )
    yield made
    shutil.rmtree(made)


def ids(pid: int) -> dict[str, list[str]]:
    """The lines of ``/proc/PID/status`` that say who it is."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: words.split() for name, _, words in (line.partition(":\t") for line in status)}


@needs_root
def test_master_and_workers_become_the_user_with_all_its_groups_and_no_others(
    others_may_run_us: None, open_folder: Path
) -> None:
    """As ``daemon``, which every system has; its umask holds for what tasks write."""
    words = ["--app", "jobs:app", "--workers", "1", "--user", "daemon", "--umask", "077", "--pidfile", "here.pid"]
    with RedisServer(tcp=True) as server, SupervisorProcess(open_folder, *words, "--redis", server.url) as supervisor:
        supervisor.wait_ready(1)
        helpers = PyTaskHelpers(server.client(decode_responses=True))
        task_id = helpers.start_task("hello")
        wait_until(lambda: helpers.get_task(task_id).get("state") == "SUCCESS")
        assert helpers.get_task(task_id)["output"] != '"/root"'
        helpers.close()
        made = (open_folder / "made").stat()
        assert (made.st_uid, made.st_mode & 0o777) == (1, 0o600)
        for pid in (supervisor.pid, *supervisor.workers().values()):
            assert ids(pid)["Uid"] == ["1"] * 4
            assert ids(pid)["Gid"] == ["1"] * 4
            assert set(ids(pid)["Groups"]) <= {"1"}
            assert int(ids(pid)["CapEff"][0], 16) == 0
        assert supervisor.stop() == 0


@needs_root
def test_a_group_alone_changes_the_group_alone(start: Start) -> None:
    with start("--workers", "1", "--group", "daemon") as supervisor:
        supervisor.wait_ready(1)
        for pid in (supervisor.pid, *supervisor.workers().values()):
            assert (ids(pid)["Uid"][0], ids(pid)["Gid"][0]) == ("0", "1")
        assert supervisor.stop() == 0


@needs_root
def test_who_is_not_root_cannot_become_somebody_else_and_is_told(others_may_run_us: None, open_folder: Path) -> None:
    words = [sys.executable, "-m", "pytask_supervisor", "--app", "jobs:app", "--user", "nobody"]
    for question in ([], ["--check-config"]):
        done = subprocess.run(
            [*words, *question],
            cwd=open_folder,
            env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            user="daemon",
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "only root can become user nobody, and we are daemon" in done.stderr


@pytest.mark.parametrize(("flag", "value"), [("--user", "no-such-user"), ("--group", "no-such-group")])
def test_a_user_or_group_that_is_not_there_is_exit_code_2(start: Start, flag: str, value: str) -> None:
    with start("--workers", "1", flag, value) as supervisor:
        supervisor.expected = [f"there is no {flag[2:]} {value} on this machine"]
        assert supervisor.wait() == 2


@pytest.mark.parametrize("flag", ["--user", "--group"])
@pytest.mark.parametrize("value", ["4294967295", "4294967296", "18446744073709551615", "9" * 5000, "²", "-1", "٣"])
def test_a_number_that_is_no_user_s_is_a_sentence_and_exit_code_2(start: Start, flag: str, value: str) -> None:
    """To the kernel 4294967295 says "stay who you are", and we stayed root without a word."""
    with start("--workers", "1", f"{flag}={value}", *(["--group", "daemon"] if flag == "--user" else [])) as supervisor:
        supervisor.expected = [f"there is no {flag[2:]} {value:.20} on this machine"]
        assert supervisor.wait() == 2
        assert supervisor.text.count("\n") == 1
        assert supervisor.expected[0] in supervisor.text


#: Has the kernel answer setresuid with "done", and not do it.
LEAVE_IT = """
import ctypes, os, struct, sys
number = {"x86_64": 117, "aarch64": 147}[os.uname().machine]
words = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *word) for word in words))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(words), ctypes.addressof(code)))
assert ctypes.CDLL(None).prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@needs_root
@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="the number of setresuid is not known here")
def test_who_did_not_become_the_user_starts_nothing(start: Start) -> None:
    """As where what stands between us and the kernel takes the order and does not carry it out."""
    with start("--workers", "1", "--user", "daemon", launcher=[sys.executable, "-c", LEAVE_IT]) as supervisor:
        supervisor.expected = ["we were to become user daemon, and are user (0, 0, 0)"]
        assert supervisor.wait() == 2
        assert supervisor.expected[0] in supervisor.text
