"""``--preload``: the app is loaded once, workers share its memory, and the master still knows nothing of it."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from pytask_core import PyTaskHelpers
from pytask_supervisor.shared.exits import Exit
from tests.process.conftest import Start
from tests.support.processes.supervisor_process import SupervisorProcess, title
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

#: Tells, in a file, in which process it was loaded, and holds 40 MB.
BIG = """
import os
with open("loaded", "a") as file:
    file.write(f"{os.getpid()}\\n")
from jobs import app
ballast = [str(number) * 10 for number in range(400_000)]
"""


@pytest.fixture
def big(folder: Path) -> str:
    """An app that is large."""
    (folder / "big.py").write_text(BIG)
    return "big:app"


def fork_server(supervisor: SupervisorProcess) -> int:
    (found,) = [pid for pid in supervisor.children() if "fork server" in title(pid)]
    return found


def pss(pid: int) -> int:
    return psutil.Process(pid).memory_full_info().pss


def test_the_app_is_loaded_once_and_its_memory_shared(folder: Path, start: Start, big: str) -> None:
    shares = {}
    for flag in ("--no-preload", "--preload"):
        (folder / "loaded").unlink(missing_ok=True)
        (folder / "supervisor.log").unlink(missing_ok=True)
        with start("--workers", "3", flag, app=big) as supervisor:
            supervisor.wait_ready(3)
            shares[flag] = [pss(pid) for pid in supervisor.workers().values()]
            loaded = [int(line) for line in (folder / "loaded").read_text().split()]
            if flag == "--preload":
                assert loaded == [fork_server(supervisor)]
            else:
                assert sorted(loaded) == sorted(supervisor.workers().values())
            assert supervisor.stop() == 0
            assert supervisor.lines("WARNING") == []
    # 40 MB less of each worker, less what it shares with the others.
    assert max(shares["--preload"]) < min(shares["--no-preload"]) / 2


def test_the_master_has_neither_gevent_nor_redis_nor_the_app_in_it(start: Start, big: str) -> None:
    with start("--workers", "1", "--preload", app=big) as supervisor:
        supervisor.wait_ready(1)
        maps = Path(f"/proc/{supervisor.pid}/maps").read_text()
        assert re.findall(r"gevent|greenlet|hiredis|_ssl|psutil", maps) == []
        assert psutil.Process(supervisor.pid).memory_info().rss <= 25 * 2**20
        assert psutil.Process(supervisor.pid).num_threads() == 1
        assert supervisor.stop() == 0


def test_workers_run_stop_and_recover_as_they_do_without_it(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    client = redis_server.client(decode_responses=True)
    with start("--workers", "3", "--preload") as supervisor:
        supervisor.wait_ready(3)
        assert all(psutil.Process(pid).ppid() == supervisor.pid for pid in supervisor.workers().values())
        ids = helpers.start_tasks([("forever", {})] * 30)
        wait_until(lambda: client.llen("new-task") == 0)
        before = supervisor.workers()
        supervisor.send(signal.SIGKILL, slot=2)
        supervisor.wait_ready(3, times=2)
        assert {slot for slot, pid in supervisor.workers().items() if before[slot] != pid} == {2}
        wait_until(lambda: client.llen("new-task") == 0)
        task_id = helpers.start_task("hello")
        wait_until(lambda: helpers.get_task(task_id).get("state") == "SUCCESS")
        assert supervisor.stop(signal.SIGTERM) == 0
        assert sorted(client.lrange("new-task", 0, -1)) == sorted(ids)


def test_each_worker_has_randomness_and_an_id_of_its_own(start: Start, redis_server: RedisServer) -> None:
    with start("--workers", "3", "--preload", "--log-level", "debug") as supervisor:
        supervisor.wait_ready(3)
        names = re.findall(r"ready, as (\S+)", supervisor.text)
        assert len(set(names)) == 3
        for pid in supervisor.workers().values():
            assert any(f"-{pid}-" in name for name in names)
        assert supervisor.stop() == 0


def test_what_blocks_a_worker_is_named_and_ended_as_without_it(start: Start, helpers: PyTaskHelpers) -> None:
    """The thread that does it must be a native one, though gevent patched long before the fork."""
    with start("--workers", "2", "--preload", "--hang-timeout", "2") as supervisor:
        supervisor.wait_ready(2)
        task_id = helpers.start_task("blocker")
        supervisor.wait_for("no other task of this worker has run")
        assert any(task_id in line and "jobs.py:" in line for line in supervisor.lines("WARNING", "worker"))
        supervisor.wait_for("killed")
        helpers.stop_task(task_id)
        supervisor.expected = ["ERROR"]
        supervisor.send(signal.SIGQUIT)
        assert supervisor.wait(15) in (0, 6)


def test_a_hang_up_reads_the_code_anew_in_a_process_of_its_own(folder: Path, start: Start, big: str) -> None:
    with start("--workers", "2", "--preload", app=big) as supervisor:
        supervisor.wait_ready(2)
        first, before = fork_server(supervisor), supervisor.workers()
        (folder / "big.py").write_text("print('this is new code', flush=True)\n" + BIG)
        supervisor.send(signal.SIGHUP)
        wait_until(lambda: len((folder / "loaded").read_text().split()) == 2)
        wait_until(
            lambda: len(supervisor.workers()) == 2 and set(supervisor.workers().values()).isdisjoint(before.values())
        )
        wait_until(lambda: not psutil.pid_exists(first))
        assert fork_server(supervisor) == int((folder / "loaded").read_text().split()[1])
        assert supervisor.stop() == 0


def test_a_hang_up_with_broken_code_keeps_what_there_is(folder: Path, start: Start, big: str) -> None:
    with start("--workers", "2", "--preload", app=big) as supervisor:
        supervisor.expected = ["ZeroDivisionError"]
        supervisor.wait_ready(2)
        first, before = fork_server(supervisor), supervisor.workers()
        (folder / "big.py").write_text("1 / 0")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("ZeroDivisionError: division by zero; the workers go on with the app that they have")
        wait_until(lambda: len(supervisor.children()) == 3)  # The one that failed is gone.
        assert (fork_server(supervisor), supervisor.workers()) == (first, before)
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_ready(2, times=2)
        assert supervisor.stop() == 0


#: Is loaded only while there is a file ``go``, and says so before.
GATED = """
import os, sys
from gevent.monkey import get_original
print("importing", file=sys.stderr)
while not os.path.exists("go"):
    get_original("time", "sleep")(0.02)
from jobs import app
"""


def test_a_reload_that_fails_takes_nothing_from_the_next_one_whose_app_is_being_loaded(
    folder: Path, redis_server: RedisServer
) -> None:
    def configure(workers: int, redis: str) -> None:
        text = f"[tool.pytask-supervisor]\napp = 'gated:app'\npreload = true\nworkers = {workers}\nredis = '{redis}'\n"
        (folder / "pyproject.toml").write_text(text)

    (folder / "gated.py").write_text(GATED)
    (folder / "go").touch()
    configure(2, redis_server.url)
    with SupervisorProcess(folder) as supervisor:
        supervisor.expected = ["is given up: the new worker 1"]
        supervisor.wait_ready(2)
        configure(2, "unix:///typo")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("unix:///typo cannot be reached")
        (folder / "go").unlink()
        configure(3, redis_server.url)
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("importing", 3)
        found = re.search(r"about to be replaced by pid (\d+)", supervisor.text)
        assert found is not None
        os.kill(int(found[1]), signal.SIGKILL)
        supervisor.wait_for("is given up: the new worker 1")
        (folder / "go").touch()
        supervisor.wait_for("2 workers to be replaced", 2)
        supervisor.wait_ready(3)
        assert supervisor.stop() == 0


def test_a_reload_whose_app_cannot_be_loaded_takes_nothing_from_the_one_before(
    folder: Path, redis_server: RedisServer
) -> None:
    link = folder / "link"

    def configure(redis: str, graceful_timeout: int) -> None:
        (folder / "pyproject.toml").write_text(
            "[tool.pytask-supervisor]\napp = 'mine:app'\npreload = true\nworkers = 2\n"
            f"redis = '{redis}'\ngraceful-timeout = {graceful_timeout}\n"
        )

    (folder / "mine.py").write_text("from jobs import app\n")
    configure(redis_server.url, 8)
    with SupervisorProcess(folder) as supervisor:
        supervisor.expected = ["ZeroDivisionError"]
        supervisor.wait_ready(2)
        configure(f"unix://{link}", 9)
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for(f"unix://{link} cannot be reached")
        (folder / "mine.py").write_text("1 / 0\n")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("the workers go on with the app that they have")
        link.symlink_to(redis_server.socket)
        supervisor.wait_for(" from now on", 2)
        assert supervisor.stop() == 0
        assert "go back to the queue, within 9 s" in supervisor.text


def test_a_hang_up_with_code_whose_import_hangs_keeps_what_there_is(folder: Path, start: Start) -> None:
    with start("--workers", "1", "--preload", "--hang-timeout", "2") as supervisor:
        supervisor.expected = ["is given up"]
        supervisor.wait_ready(1)
        before = fork_server(supervisor), supervisor.workers()
        with (folder / "jobs.py").open("a") as file:
            file.write("\ntime.sleep(1000)\n")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("is given up: the app was not loaded after 20 s, 10 times --hang-timeout;", timeout=30)
        wait_until(lambda: len(supervisor.children()) == 2)
        assert (fork_server(supervisor), supervisor.workers()) == before
        assert supervisor.stop() == 0


def test_an_import_that_hangs_at_the_start_is_one_line_and_exit_code_3(folder: Path, start: Start) -> None:
    (folder / "hangs.py").write_text("import time\ntime.sleep(1000)\n")
    with start("--workers", "1", "--preload", "--hang-timeout", "2", app="hangs:app") as supervisor:
        supervisor.expected = ["ERROR"]
        assert supervisor.wait(30) == Exit.LOAD
        (line,) = supervisor.lines("ERROR")
        assert line.startswith("the app was not loaded after 20 s, 10 times --hang-timeout; code that runs for ever")


def test_an_app_that_fails_to_load_is_one_line_and_exit_code_3(folder: Path, start: Start) -> None:
    for code, words in (("1 / 0", "ZeroDivisionError"), ("import os; os.kill(os.getpid(), 11)", "SIGSEGV")):
        (folder / "broken.py").write_text(code)
        (folder / "supervisor.log").unlink(missing_ok=True)
        with start("--workers", "2", "--preload", app="broken:app") as supervisor:
            supervisor.expected = [words]
            assert supervisor.wait() == 3
            assert len(supervisor.lines("ERROR", "master")) == 1


CHATTY = """
import os, socket, stat

for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        is_socket = stat.S_ISSOCK(os.stat(fd).st_mode)
    except OSError:
        continue
    if is_socket:
        with socket.socket(fileno=os.dup(fd)) as end:
            if end.family == socket.AF_UNIX and end.type == socket.SOCK_SEQPACKET and not os.path.exists("said"):
                open("said", "w").close()
                end.send(SAID)
"""


UNHEARD = [b"hello", b"[" * 100_000, b'{"pid": 1}', b'{"failed": 1}', b'{"failed": "x", "detail": "", "code": 200}']


@pytest.mark.parametrize("said", UNHEARD, ids=["no JSON", "nested", "early", "a number", "no exit code"])
def test_what_code_of_the_app_writes_on_the_fork_servers_line_ends_that_process_and_nothing_else(
    start: Start, folder: Path, said: bytes
) -> None:
    jobs = folder / "jobs.py"
    with start("--preload", "--workers", "1", stage="hasty") as supervisor:
        supervisor.expected += ["said what it never says"]
        supervisor.wait_ready(1)
        jobs.write_text(f"SAID = {said!r}\n{CHATTY}{jobs.read_text()}")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("said what it never says")
        assert len(supervisor.workers()) == 1
        assert supervisor.stop() == 0


LIAR = """
import os
import pytask_supervisor.forkserver.process as preloaded

if not os.path.exists("said"):
    open("said", "w").close()
    preloaded._fork = lambda _job: {"pid": os.getpid()}
"""


def test_a_process_that_is_not_a_new_worker_is_not_taken_for_one(start: Start, folder: Path) -> None:
    jobs = folder / "jobs.py"
    with start("--preload", "--workers", "1", stage="hasty") as supervisor:
        supervisor.expected += ["said what it never says", "cannot be started", "could not be started"]
        supervisor.wait_ready(1)
        jobs.write_text(f"{LIAR}{jobs.read_text()}")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("is not a new worker")
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_ready(1, times=2)
        assert supervisor.stop() == 0


def test_a_killed_fork_server_is_replaced_and_disturbs_no_worker(start: Start, big: str, folder: Path) -> None:
    with start("--workers", "2", "--preload", app=big) as supervisor:
        supervisor.wait_ready(2)
        # If the worker is killed before the app is loaded again.
        supervisor.expected = ["no process has the app loaded; another one is loading it"]
        first, before = fork_server(supervisor), supervisor.workers()
        os.kill(first, signal.SIGKILL)
        supervisor.wait_for("the process that has the app loaded was killed by SIGKILL")
        wait_until(lambda: len((folder / "loaded").read_text().split()) == 2)
        assert supervisor.workers() == before
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_ready(2, times=2)
        assert supervisor.stop() == 0


def test_a_fork_server_that_cannot_be_replaced_is_tried_again_until_the_code_is_mended(
    start: Start, big: str, folder: Path
) -> None:
    with start("--workers", "1", "--preload", app=big) as supervisor:
        supervisor.expected = ["no process has the app loaded", "ZeroDivisionError"]
        supervisor.wait_ready(1)
        (folder / "big.py").write_text("1 / 0")
        os.kill(fork_server(supervisor), signal.SIGKILL)
        supervisor.wait_for("ZeroDivisionError: division by zero; the workers go on", 2)
        (folder / "big.py").write_text(BIG)
        wait_until(lambda: len((folder / "loaded").read_text().split()) == 2)
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_ready(1, times=2)
        assert supervisor.stop() == 0


def test_a_killed_master_takes_fork_server_and_workers_along(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    client = redis_server.client(decode_responses=True)
    with start("--workers", "2", "--preload") as supervisor:
        supervisor.wait_ready(2)
        ids = helpers.start_tasks([("forever", {})] * 10)
        wait_until(lambda: client.llen("new-task") == 0)
        supervisor.send(signal.SIGKILL)
        supervisor.wait()
        wait_until(lambda: not supervisor.left(), 5, "nobody is left")
        assert sorted(client.lrange("new-task", 0, -1)) == sorted(ids)


def test_a_stop_while_the_app_is_being_imported_is_prompt_and_clean(folder: Path, start: Start) -> None:
    (folder / "slow.py").write_text("import sys, time\nprint('importing', file=sys.stderr)\ntime.sleep(30)\n")
    with start("--workers", "2", "--preload", app="slow:app") as supervisor:
        supervisor.wait_for("importing")
        began = time.monotonic()
        assert supervisor.stop(signal.SIGTERM, timeout=4) == 0
        assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "import gevent\ngevent.get_hub().threadpool.spawn(abs, 1)",
            "1 thread",
        ),
        ("import gevent\ngevent.spawn(print)", "spawned 1 greenlet"),
        ("import time\ntime.sleep(0.001)", "waited for something"),
        ("import socket\nkept = socket.socketpair()", "opened 2 connections"),
    ],
)
def test_what_a_fork_does_not_bear_is_told(folder: Path, start: Start, code: str, words: str) -> None:
    (folder / "odd.py").write_text(f"{code}\nfrom jobs import app\n")
    with start("--workers", "2", "--preload", app="odd:app") as supervisor:
        supervisor.wait_ready(2)
        assert any(words in line for line in supervisor.lines("WARNING", "master"))
        assert supervisor.stop() == 0


def test_embedded_and_preload_go_together(folder: Path) -> None:
    words = ["--app", "jobs:app", "--workers", "2", "--preload", "--redis", f"embedded:{folder}/server"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2)
        assert supervisor.stop() == 0
