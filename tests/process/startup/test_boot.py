"""From the command line to workers that are ready, or to an exit code and a sentence."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.supervisor_process import SupervisorProcess, title
from tests.support.servers.aged import AgedServer
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until


def run_to_end(folder: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    """Exit code and log of a supervisor that is to end by itself."""
    supervisor = SupervisorProcess(folder, *arguments, environ=environ)
    code = supervisor.wait()
    wait_until(lambda: not supervisor.left(), 3, "no process left")
    return code, supervisor.text


def test_four_workers_get_ready_and_run_a_task(start: Start, redis_server: RedisServer, helpers: PyTaskHelpers) -> None:
    with start("--workers", "4") as supervisor:
        supervisor.wait_ready(4)
        task_id = helpers.start_task("hello", text="hi")
        wait_until(lambda: helpers.get_task(task_id).get("state") == "SUCCESS")
        assert len(supervisor.workers()) == 4
        assert supervisor.stop() == 0


def test_every_log_line_tells_time_level_and_who(start: Start) -> None:
    with start("--workers", "2") as supervisor:
        supervisor.wait_ready(2)
        assert supervisor.stop() == 0
        pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING) \[(master|worker [12])\] \S.*"
        assert all(re.fullmatch(pattern, line) for line in supervisor.text.splitlines())


def test_titles_tell_master_worker_number_and_running_tasks(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        assert title(supervisor.pid) == "pytask-supervisor: master [jobs:app]"
        helpers.start_tasks([("forever", {})] * 3)
        (pid,) = supervisor.workers().values()
        wait_until(lambda: title(pid) == "pytask-supervisor: worker 1 (3 running)")
        assert supervisor.stop() == 0


def test_the_live_master_has_neither_gevent_nor_redis_in_it(start: Start) -> None:
    with start("--workers", "1") as supervisor:
        supervisor.wait_ready(1)
        (worker,) = supervisor.workers().values()
        libraries = re.compile(r"gevent|greenlet|hiredis|_ssl|psutil")
        # The worker shows that the method sees them where they are.
        assert {"gevent", "greenlet"} <= set(libraries.findall(Path(f"/proc/{worker}/maps").read_text()))
        assert libraries.findall(Path(f"/proc/{supervisor.pid}/maps").read_text()) == []
        assert psutil.Process(supervisor.pid).memory_info().rss <= 25 * 2**20
        assert psutil.Process(supervisor.pid).num_threads() == 1
        assert supervisor.stop() == 0


def test_a_child_keeps_nothing_of_the_masters_but_its_own_channel(start: Start) -> None:
    def sockets(pid: int) -> set[str]:
        links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        return {link for link in links if link.startswith(("socket:", "pipe:"))}

    with start("--workers", "3") as supervisor:
        supervisor.wait_ready(3)
        # A socket pair's ends have names of their own, so whatever two of us share is inherited.
        owners = [supervisor.pid, *supervisor.workers().values()]
        fds = {pid: sockets(pid) for pid in owners}
        for one in owners:
            for other in owners:
                assert one == other or not fds[one] & fds[other]
        groups = {os.getpgid(pid) for pid in owners}
        assert groups == set(owners)
        assert all(os.readlink(f"/proc/{pid}/fd/0") == os.devnull for pid in owners[1:])
        assert supervisor.stop() == 0


def test_a_function_that_returns_the_app_will_do(start: Start) -> None:
    with start("--workers", "1", app="jobs:make") as supervisor:
        supervisor.wait_ready(1)
        assert supervisor.stop() == 0


def test_tasks_mode_runs_all_tasks_of_a_module_with_monitor_and_cleanup(
    start: Start, redis_server: RedisServer
) -> None:
    names = ["--new-queue", "n", "--task-set", "s", "--task-prefix", "p-", "--end-queue", "e"]
    words = ["--tasks", "jobs", "--retention", "1", *names]
    with start("--workers", "1", *words, app=None) as supervisor:
        supervisor.wait_ready(1)
        supervisor.wait_for("pytask/cleanup, pytask/monitor")
        client = redis_server.client(decode_responses=True)
        client.hset("p-one", mapping={"task": "hello", "data": "{}"})
        client.lpush("n", "one")
        wait_until(lambda: client.hget("p-one", "state") == "SUCCESS")
        # Retained for a second, and then gone.
        wait_until(lambda: not client.exists("p-one"))
        assert client.llen("e") == 0
        assert supervisor.stop() == 0


def test_flag_beats_environment_beats_file_beats_default(folder: Path, redis_server: RedisServer) -> None:
    file = folder / "pyproject.toml"
    base = f"[tool.pytask-supervisor]\napp = 'jobs:app'\nredis = '{redis_server.url}'\n"
    file.write_text(base + "workers = 1\n")
    steps = [
        (1, [], {}),
        (2, [], {"PYTASK_WORKERS": "2"}),
        (3, ["--workers", "3"], {"PYTASK_WORKERS": "2"}),
    ]
    for workers, flags, environ in steps:
        (folder / "supervisor.log").unlink(missing_ok=True)
        with SupervisorProcess(folder, *flags, environ=environ) as supervisor:
            supervisor.wait_ready(workers)
            assert supervisor.stop() == 0


def test_a_worker_takes_its_redis_from_the_environment_and_the_flag_beats_it(
    folder: Path, redis_server: RedisServer
) -> None:
    nowhere = {"PYTASK_REDIS_URL": "unix:///nowhere.sock"}
    words = ["--app", "jobs:app", "--workers", "1", "--redis", redis_server.url]
    with SupervisorProcess(folder, *words, environ=nowhere) as supervisor:
        supervisor.wait_ready(1)
        assert supervisor.stop() == 0


def test_chdir_is_where_app_and_file_are(folder: Path, redis_server: RedisServer, tmp_path: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.pytask-supervisor]\napp = 'jobs:app'\nworkers = 1\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ["--chdir", str(folder), "--redis", redis_server.url]
    with SupervisorProcess(elsewhere, *words) as supervisor:
        supervisor.wait_ready(1)
        assert supervisor.stop() == 0


def test_without_an_app_one_sentence_and_exit_code_2(folder: Path) -> None:
    """F11: wrong configuration."""
    code, text = run_to_end(folder, "--workers", "4")
    assert code == 2
    assert text.count("\n") == 1
    assert "no app is named: use --app MODULE:ATTR" in text


def test_a_misspelt_variable_is_told_of_also_where_it_is_why_there_is_no_app(folder: Path, start: Start) -> None:
    with start("--workers", "1", environ={"PYTASK_HANG_TIMEOUTS": "9"}) as supervisor:
        supervisor.wait_ready(1)
        assert supervisor.lines("WARNING") == ["PYTASK_HANG_TIMEOUTS is not read; did you mean PYTASK_HANG_TIMEOUT?"]
        assert supervisor.stop() == 0
    (folder / "pyproject.toml").write_text("[tool.pytask_supervisor]\napp = 'jobs:app'\n")
    code, text = run_to_end(folder)
    assert code == 2
    *_, first, second = text.splitlines()
    assert first.endswith("is not read; did you mean [tool.pytask-supervisor]?")
    assert "no app is named" in second


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[tool.pytask-supervisor\n", "not valid TOML"),
        ("[tool.pytask-supervisor]\nworker = 4\n", "worker in"),
    ],
)
def test_a_broken_file_is_one_line_and_exit_code_2(folder: Path, toml: str, words: str) -> None:
    (folder / "pyproject.toml").write_text(toml)
    code, text = run_to_end(folder, "--app", "jobs:app")
    assert code == 2
    assert text.count("\n") == 1
    assert words in text


def test_help_and_version_are_told_without_an_app(folder: Path) -> None:
    assert run_to_end(folder, "--version") == (0, "")
    assert run_to_end(folder, "--help") == (0, "")


@pytest.mark.parametrize(
    ("app", "code", "words"),
    [
        ("import nosuchthing", "app:app", "nosuchthing"),
        ("raise RuntimeError('not today')", "app:app", "not today"),
        ("import sys; sys.exit(0)", "app:app", "SystemExit: 0"),
        ("", "app:nothing", "no nothing in app"),
        ("", "nomodule:app", "no module nomodule"),
    ],
)
def test_an_app_that_fails_to_load_is_one_line_and_exit_code_3(folder: Path, app: str, code: str, words: str) -> None:
    """F11: an import that fails."""
    (folder / "app.py").write_text(app)
    exit_code, text = run_to_end(folder, "--workers", "3", "--app", code)
    assert exit_code == 3
    # The line that it starts, and the one that says why it does not.
    assert text.count("\n") == 2
    assert words in text.splitlines()[1]
    assert "ERROR [master]" in text


@pytest.mark.parametrize("words", [[], ["--preload"]], ids=" ".join)
def test_a_local_task_that_cannot_be_made_is_one_line_and_exit_code_3(
    folder: Path, redis_server: RedisServer, words: list[str]
) -> None:
    (folder / "app.py").write_text(
        "from pytask_core import *\napp = PyTask()\napp.add_tasks(Monitor, Cleanup)\n"
        "app.start_local_task('pytask/monitor')\napp.start_local_task('pytask/cleanup', retain=1)\n"
    )
    exit_code, text = run_to_end(folder, "--workers", "3", "--app", "app:app", "--redis", redis_server.url, *words)
    assert exit_code == 3
    assert "ERROR [master] the local task 'pytask/cleanup' cannot be made: TypeError" in text
    assert "WARNING" not in text
    left = redis_server.client(decode_responses=True).keys("task*") + redis_server.client().keys("{tasks}:[^mr]*")
    assert left == []


def test_an_app_without_monitor_and_cleanup_is_warned_of_once(start: Start, folder: Path) -> None:
    (folder / "bare.py").write_text("from pytask_core import *\napp = PyTask()\n")
    with start("--workers", "3", app="bare:app") as supervisor:
        supervisor.wait_ready(3)
        assert supervisor.text.count("has neither Monitor nor Cleanup among its tasks") == 1
        assert "tasks of a host that is lost are not run again" in supervisor.text
        assert supervisor.stop() == 0


def test_the_traceback_of_an_app_that_fails_to_load_is_told_at_debug(folder: Path) -> None:
    (folder / "app.py").write_text("1 / 0")
    exit_code, text = run_to_end(folder, "--workers", "2", "--app", "app:app", "--log-level", "debug")
    assert exit_code == 3
    assert text.count("Traceback") == 1


def test_a_wrong_password_is_one_line_and_exit_code_4(folder: Path) -> None:
    """F11: a wrong password of Redis."""
    with RedisServer(tcp=True, requirepass="hunter2") as server:
        url = server.url.replace("hunter2", "hunter3")
        code, text = run_to_end(folder, "--workers", "3", "--app", "jobs:app", "--redis", url)
    assert code == 4
    assert text.count("\n") == 2
    assert "refuses us" in text
    assert "hunter" not in text


MIXED = """
from pytask_core import PyTask

app = PyTask("redis+cluster://127.0.0.1:1", task_set="{pytask}tasks")
"""


@pytest.mark.parametrize("words", [[], ["--preload"], ["--check-config"]])
def test_names_that_do_not_fit_a_cluster_are_one_line_and_exit_code_4(folder: Path, words: list[str]) -> None:
    (folder / "app.py").write_text(MIXED)
    code, text = run_to_end(folder, "--workers", "2", "--app", "app:app", *words)
    assert code == 4
    assert "on a Redis Cluster the four names must share a hash tag" in text.splitlines()[-1]
    assert "Traceback" not in text


def test_a_node_of_a_cluster_named_like_a_single_server_is_one_line_and_exit_code_4(folder: Path) -> None:
    with ServerCluster() as cluster:
        url = cluster.url.replace("+cluster", "").partition(",")[0]
        code, text = run_to_end(folder, "--workers", "2", "--app", "jobs:app", "--redis", url)
    assert code == 4
    assert text.count("\n") == 2
    assert "is a node of a cluster: name it as redis+cluster://" in text


def test_a_server_that_is_too_old_is_one_line_and_exit_code_4(folder: Path, redis_server: RedisServer) -> None:
    with AgedServer(str(redis_server.socket)) as server:
        code, text = run_to_end(folder, "--workers", "2", "--app", "jobs:app", "--redis", server.url)
    assert code == 4
    assert text.count("\n") == 2
    assert re.search(r"runs version 5\.\S+; pytask needs Redis 6\.2 or later, or Valkey", text)


def test_while_redis_is_not_there_it_keeps_trying(folder: Path, own_server: RedisServer) -> None:
    own_server.stop()
    words = ["--workers", "2", "--app", "jobs:app", "--redis", own_server.url]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_for("cannot be reached", 2)
        own_server.start()
        supervisor.wait_ready(2)
        assert supervisor.stop() == 0


def test_a_stop_while_redis_is_not_there_is_a_clean_one(folder: Path) -> None:
    words = ["--workers", "2", "--app", "jobs:app", "--redis", "unix:///nowhere.sock"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_for("cannot be reached", 2)
        assert supervisor.stop(signal.SIGTERM, timeout=3) == 0


def test_a_warning_of_four_workers_is_said_once(folder: Path, redis_server: RedisServer) -> None:
    own = f"from pytask_core import *\napp = PyTask('{redis_server.url}')\napp.add_tasks(Monitor, Cleanup)\n"
    (folder / "own.py").write_text(own)
    words = ["--workers", "4", "--app", "own:app", "--redis", "redis://other:1", "--task-set", "x"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(4)
        assert supervisor.lines("WARNING", "master") == [
            "--redis is not used: own:app names its own Redis",
            "--task-set: not used, own:app has its own settings",
        ]
        assert supervisor.stop() == 0


def test_a_password_is_shown_neither_in_titles_nor_in_the_log(folder: Path) -> None:
    with RedisServer(tcp=True, requirepass="hunter2") as server:
        words = ["--workers", "1", "--app", "jobs:app", "--redis", server.url, "--log-level", "debug"]
        with SupervisorProcess(folder, *words) as supervisor:
            supervisor.wait_ready(1)
            for pid in (supervisor.pid, *supervisor.children()):
                assert "hunter2" not in title(pid)
            assert supervisor.stop() == 0
            assert "hunter2" not in supervisor.text


def test_a_password_in_the_apps_own_words_is_left_out(folder: Path) -> None:
    (folder / "app.py").write_text("raise RuntimeError('no way to redis://:hunter2@db/0')")
    words = ["--workers", "1", "--app", "app:app", "--log-level", "debug"]
    code, text = run_to_end(folder, *words)
    assert code == 3
    assert "no way to redis://:***@db/0" in text
    # The traceback quotes the line of code as well.
    assert "hunter2" not in text


def test_a_closed_stderr_harms_nobody(folder: Path, redis_server: RedisServer) -> None:
    """As in ``pytask-supervisor 2>&1 | head -1``."""
    with SupervisorProcess(
        folder, "--workers", "2", "--app", "jobs:app", "--redis", redis_server.url, stage="deaf_terminal"
    ) as supervisor:
        wait_until(lambda: len(redis_server.other_clients()) >= 4)
        assert supervisor.stop() == 0


def test_a_file_that_is_called_like_a_library_is_one_sentence_and_exit_code_3(
    folder: Path, redis_server: RedisServer
) -> None:
    """So is half an installation."""
    (folder / "redis.py").write_text("")
    words = ["--app", "jobs:app", "--workers", "2", "--redis", redis_server.url, "--log-format", "json"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.expected = ["pytask itself cannot be loaded: "]
        assert supervisor.wait() == 3
        said = [json.loads(line) for line in supervisor.text.splitlines()]
    (failure,) = [each["message"] for each in said if each["level"] == "ERROR"]
    assert "'redis' is not a package: install it again, or rename your file" in failure


#: As the first section of a manual has it: fine as a program, and not to be loaded.
RUNS_ITSELF = {
    "run": "app.run()",
    "run in a greenlet that is waited for": "import gevent\ngevent.spawn(app.run).get()",
    "run of another app": "PyTask().run()",
    "run in a function that makes the app": "def make():\n    app.run()",
}


@pytest.mark.parametrize("words", [[], ["--preload"], ["--check-config"]])
@pytest.mark.parametrize("way", RUNS_ITSELF)
def test_an_app_that_runs_itself_when_it_is_imported_is_one_sentence_and_exit_code_3(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers, way: str, words: list[str]
) -> None:
    (folder / "app.py").write_text(
        f"from pytask_core import PyTask\nfrom jobs import Hello\n\napp = PyTask()\n\
app.add_task(Hello)\n{RUNS_ITSELF[way]}\n"
    )
    task_id = helpers.start_task("hello")
    name = "app:make" if "def make" in RUNS_ITSELF[way] else "app:app"
    code, text = run_to_end(folder, "--workers", "2", "--app", name, "--redis", redis_server.url, *words)
    assert code == 3
    assert "put the call under if __name__ == '__main__':" in text.splitlines()[-1]
    assert helpers.get_task(task_id, "state") == "WAIT"


def test_an_import_that_is_slow_in_many_places_is_told_of_once(folder: Path) -> None:
    lines = "\n".join("time.sleep(0.2)" for _ in range(1000))
    (folder / "app.py").write_text(f"import time\n{lines}\n")
    with SupervisorProcess(folder, "--workers", "1", "--app", "app:app", "--hang-timeout", "2") as supervisor:
        supervisor.expected = ["hangs and is killed"]
        supervisor.wait_for("hangs and is killed", timeout=40)
        assert supervisor.text.count("the app is still being loaded") == 1
        assert supervisor.stop() == 0


@pytest.mark.parametrize("words", [[], ["--preload"], ["--check-config"]])
@pytest.mark.parametrize("code", ["while True: time.sleep(0.1)", "gevent.event.Event().wait(3600)"])
def test_an_app_whose_import_never_ends_is_told_of_in_a_sentence(folder: Path, code: str, words: list[str]) -> None:
    (folder / "app.py").write_text(f"import time\nimport gevent.event\n{code}\n")
    all_words = ["--workers", "1", "--app", "app:app", "--hang-timeout", "2", *words]
    with SupervisorProcess(folder, *all_words) as supervisor:
        supervisor.wait_for("the app is still being loaded after ", timeout=20)
        assert "must not start when its module is imported: put it under if __name__ == '__main__':" in supervisor.text
        if not words:
            assert f"at {folder}/app.py:3 in <module>" in supervisor.text
            supervisor.expected = ["hangs and is killed"]
            assert supervisor.stop() == 0
        else:
            assert supervisor.wait(40) == 3 if words == ["--check-config"] else supervisor.stop() == 0
