"""HUP: new code and configuration, one worker after another; what is broken leaves the old ones at work."""

from __future__ import annotations

import os
import pty
import signal
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until


def change(path: Path, old: str, new: str) -> None:
    """Replace in a file, with a time stamp that no byte code of before can have."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    later = path.stat().st_mtime + 10
    os.utime(path, (later, later))


def wait_replaced(supervisor: SupervisorProcess, count: int, times: int = 1) -> None:
    """Wait until so many workers have been replaced, and the old ones are gone."""
    supervisor.wait_for(" from now on", count * times)
    wait_until(lambda: len(supervisor.workers()) == len(supervisor.children()) == count)


def test_hup_loads_new_code_into_one_worker_after_another(
    start: Start, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    with start("--workers", "3", "--drain-timeout", "1") as supervisor:
        supervisor.wait_ready(3)
        before = set(supervisor.workers().values())
        ids = helpers.start_tasks([("forever", {})] * 30)
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        change(supervisor.folder / "jobs.py", "from {os.getpid()}", "from the new code")
        supervisor.send(signal.SIGHUP)
        wait_replaced(supervisor, 3)
        assert not before & set(supervisor.workers().values())
        assert supervisor.text.count("was replaced (SIGHUP), after ") == 3
        hello = helpers.start_task("hello")
        wait_until(lambda: helpers.get_task(hello).get("output") == '"world from the new code"')
        wait_until(lambda: redis_server.client().llen("new-task") == 0)
        assert {state for [state] in helpers.get_tasks(ids, ["state"])} == {"RUNNING"}  # type: ignore[misc]
        assert supervisor.stop() == 0
        assert supervisor.lines("WARNING") == []


def test_broken_code_leaves_the_old_workers_at_work_and_mended_code_replaces_them(start: Start) -> None:
    """F11: a reload that is broken."""
    with start("--workers", "2") as supervisor:
        supervisor.expected = ["is given up"]
        supervisor.wait_ready(2)
        before = supervisor.workers()
        jobs = supervisor.folder / "jobs.py"
        change(jobs, "from pytask_core import", "import nosuchthing\nfrom pytask_core import")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("SIGHUP is given up: the new worker 1 could not load the app (exit code 3): importing jobs")
        assert supervisor.lines("ERROR")[0].endswith("; the old one goes on, and so do 1 more")
        assert len(supervisor.lines("ERROR")) == 1
        assert supervisor.workers() == before
        change(jobs, "import nosuchthing\n", "")
        supervisor.send(signal.SIGHUP)
        wait_replaced(supervisor, 2)
        assert supervisor.stop() == 0


def test_a_changed_file_counts_and_a_wrong_one_changes_nothing(folder: Path, redis_server: RedisServer) -> None:
    file = folder / "pyproject.toml"

    def configure(text: str) -> None:
        file.write_text(f"[tool.pytask-supervisor]\napp = 'jobs:app'\n{text}\n")

    configure("workers = 2")
    with SupervisorProcess(folder, "--redis", redis_server.url) as supervisor:
        supervisor.wait_ready(2)
        before = supervisor.workers()
        configure("workers = 'many'")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("SIGHUP: the configuration cannot be used, so nothing changes: workers in ")
        assert supervisor.workers() == before
        configure("workers = 3\nlog-level = 'debug'")
        supervisor.send(signal.SIGHUP)
        wait_until(lambda: len(supervisor.workers()) == 3 and not set(before.values()) & set(supervisor.children()))
        supervisor.wait_ready(3)
        assert supervisor.lines("DEBUG")
        assert supervisor.stop() == 0


def test_a_successor_that_never_gets_ready_is_given_up_for_a_mended_configuration(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    file = folder / "pyproject.toml"

    def configure(redis: str) -> None:
        file.write_text(f"[tool.pytask-supervisor]\napp = 'jobs:app'\nworkers = 2\nredis = '{redis}'\n")

    configure(redis_server.url)
    with SupervisorProcess(folder) as supervisor:
        supervisor.wait_ready(2)
        before = supervisor.workers()
        configure("unix:///typo")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("unix:///typo cannot be reached")
        assert set(before.values()) < set(supervisor.children())
        configure(redis_server.url)
        supervisor.send(signal.SIGHUP)
        wait_replaced(supervisor, 2)
        assert not set(before.values()) & set(supervisor.children())
        hello = helpers.start_task("hello")
        wait_until(lambda: helpers.get_task(hello).get("state") == "SUCCESS")
        assert supervisor.stop() == 0


@pytest.mark.parametrize("by", ["flag", "shell"])
def test_a_link_to_another_release_is_followed(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers, by: str
) -> None:
    """As a deployment does that switches a link: the folder itself stays what it was."""
    jobs, current = (folder / "jobs.py").read_text(), folder / "current"
    for release in ("one", "two", "broken"):
        (folder / release).mkdir()
        (folder / release / "jobs.py").write_text(jobs.replace("from {os.getpid()}", f"from {release}"))
    (folder / "broken" / "jobs.py").write_text("import nosuchthing")
    current.symlink_to("one")

    def switch(release: str) -> None:
        (folder / "next").symlink_to(release)
        (folder / "next").rename(current)

    def hello() -> str | None:
        task_id = helpers.start_task("hello")
        wait_until(lambda: helpers.get_task(task_id).get("state") == "SUCCESS")
        return helpers.get_task(task_id)["output"]

    words = ["--app", "jobs:app", "--workers", "1", "--redis", redis_server.url]
    if by == "flag":
        supervisor = SupervisorProcess(folder, *words, "--chdir", str(current))
    else:
        supervisor = SupervisorProcess(current, *words, environ={"PWD": str(current)})
    with supervisor:
        supervisor.log = supervisor.log.resolve()
        supervisor.expected = ["is given up"]
        supervisor.wait_ready(1)
        assert hello() == '"world from one"'
        switch("two")
        supervisor.send(signal.SIGHUP)
        wait_replaced(supervisor, 1)
        assert hello() == '"world from two"'
        # After a release that is none, also a worker that dies is followed by one of the last good release.
        switch("broken")
        supervisor.send(signal.SIGHUP)
        supervisor.wait_for("is given up")
        supervisor.send(signal.SIGKILL, slot=1)
        supervisor.wait_ready(1, times=2)
        assert hello() == '"world from two"'
        assert supervisor.stop() == 0


def test_a_terminal_that_is_closed_is_a_reload_and_no_end(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers
) -> None:
    controller, terminal = pty.openpty()
    words = ["--app", "jobs:app", "--workers", "1", "--redis", redis_server.url]
    supervisor = SupervisorProcess(folder, *words, stage="own_terminal", stdin=terminal)
    os.close(terminal)
    with supervisor:
        supervisor.wait_ready(1)
        os.close(controller)
        wait_replaced(supervisor, 1)
        task_id = helpers.start_task("hello")
        wait_until(lambda: helpers.get_task(task_id).get("state") == "SUCCESS")
        assert supervisor.stop() == 0
