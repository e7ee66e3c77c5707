"""A machine, or a jail, in which ``/proc`` is not to be had."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

#: Runs what follows in a mount namespace of its own, over whose /proc an empty folder lies.
HIDES = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]


@pytest.mark.parametrize("words", [[], ["--preload"]])
def test_without_proc_workers_run_and_say_what_is_not_known(
    folder: Path, redis_server: RedisServer, helpers: PyTaskHelpers, words: list[str]
) -> None:
    if subprocess.run([*HIDES, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mount namespaces are not to be had here")
    all_words = ["--workers", "1", "--app", "jobs:app", "--redis", redis_server.url, *words]
    with SupervisorProcess(folder, *all_words, launcher=HIDES) as supervisor:
        supervisor.wait_ready(1)
        task_id = helpers.start_task("hello")
        wait_until(lambda: helpers.get_task(task_id, "state") == "SUCCESS")
        assert "the memory of this worker is not known" in supervisor.text
        assert ("whether the app started threads" in supervisor.text) == bool(words)
        assert supervisor.stop() == 0
