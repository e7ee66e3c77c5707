"""``--redis embedded-cluster``: six servers that start before the workers, are kept alive, and outlive them."""

from __future__ import annotations

import json
import os
import signal
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from pytask_core import PyTaskException, PyTaskHelpers
from pytask_core.connection import RedisSource
from tests.ctl.conftest import run_ctl
from tests.support.processes.guardian import wait_for_death
from tests.support.processes.supervisor_process import SupervisorProcess, title
from tests.support.servers.setups import TAGGED
from tests.support.waiting import wait_until

WORDS = [word for option, name in TAGGED.items() for word in (f"--{option.replace('_', '-')}", name)]


@pytest.fixture
def home(folder: Path) -> Path:
    """Where the cluster lives."""
    app = (folder / "jobs.py").read_text()
    (folder / "jobs.py").write_text(app.replace("PyTask()", f"PyTask(**{TAGGED!r})"))
    return folder / "v"


def servers(home: Path) -> list[psutil.Process]:
    """The processes whose data is below ``home``."""
    found = [
        (process.info["cwd"], process)
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == "valkey-server" and str(process.info["cwd"]).startswith(str(home))
    ]
    return [process for _, process in sorted(found, key=lambda pair: str(pair[0]))]


def test_a_cluster_starts_with_the_supervisor_survives_a_death_and_stops_after_it(folder: Path, home: Path) -> None:
    url = f"embedded-cluster:{home}"
    words = ["--app", "jobs:app", "--workers", "2", "--redis", url, "--log-level", "debug"]
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2)
        assert len(supervisor.lines("WARNING", "master")) == 1
        assert "the embedded cluster is for machines without other users" in supervisor.text
        with closing(PyTaskHelpers(url, **TAGGED)) as helpers:
            first = helpers.start_task("forever")
            wait_until(lambda: helpers.get_task(first, "state") == "RUNNING")
        six = servers(home)
        assert len(six) == 6
        password = json.loads((home / "cluster" / "plan.json").read_text())["password"]
        assert not [process for process in six if password in " ".join(process.cmdline())]

        six[0].kill()
        wait_for_death(six[0].pid)
        wait_until(lambda: len(servers(home)) == 6, 20, "the dead server to be started again")

        # Until its successor serves, a sentence says that the cluster is down.
        ask = ("--redis", url, *WORDS, "start", "hello", "--wait")
        wait_until(lambda: run_ctl(*ask).code == 0, 20, "the cluster to be well again", interval=0.2)
        assert supervisor.stop() == 0
        assert servers(home) == []
        assert password not in supervisor.text + title(supervisor.pid)
    # All is there in the next one.
    with SupervisorProcess(folder, *words) as supervisor:
        supervisor.wait_ready(2, times=2)
        with closing(PyTaskHelpers(url, **TAGGED)) as helpers:
            wait_until(lambda: helpers.get_task(first, "state") == "RUNNING")
        supervisor.process.send_signal(signal.SIGKILL)
        supervisor.wait()
        wait_until(lambda: servers(home) == [], 20, "the end of the servers of a killed master")


def test_where_no_cluster_was_ever_started_a_sentence_says_how(folder: Path, home: Path) -> None:
    with pytest.raises(PyTaskException, match=r"no embedded cluster runs in .*; pytask-supervisor --redis") as caught:
        RedisSource(f"embedded-cluster:{home}")
    done = run_ctl("--redis", f"embedded-cluster:{home}", "queues")

    assert done.code == 1
    assert str(caught.value) in done.err
    assert not os.path.exists(home)
