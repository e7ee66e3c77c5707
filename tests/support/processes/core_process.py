"""Workers as processes of their own, with a few tasks, for the fault tests.

Run as a program it is a nursery: it has imported everything, and forks a worker for each line that
it reads, so that a test can have a hundred of them. It runs under gevent
(``python -m gevent.monkey --module tests.support.processes.core_process``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).parents[3]


class Nursery:
    """Has workers, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gevent.monkey", "--module", "tests.support.processes.core_process"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C at the terminal is for the tests.
            start_new_session=True,
        )
        self._read()
        self.pid = 0

    def start(
        self,
        url: str,
        *,
        detour: dict[int, int] | None = None,
        forever: bool = True,
        monitor: bool = False,
        cleanup: bool = False,
        **options: Any,
    ) -> None:
        """Start a worker. ``forever``: whether its for-ever tasks are; else they end at once.

        ``monitor``, ``cleanup``: whether it has one.

        ``detour``: for each port of a cluster's nodes the one of 127.0.0.1 to go to instead.
        """
        assert not self.pid, "one at a time"
        assert self._process.stdin is not None
        order = {"url": url, "detour": detour, "forever": forever, "monitor": monitor, "cleanup": cleanup}
        print(json.dumps({**order, "options": options}), file=self._process.stdin, flush=True)
        self.pid = int(self._read())

    def signal(self, number: signal.Signals) -> None:
        """Send the worker a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """What no process survives, nor notices."""
        self.signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for the worker's end; its exit code, negative for a signal."""
        code = int(self._read())
        self.pid = 0
        return code

    def close(self) -> None:
        """End the worker, if there is one, and the nursery."""
        if self.pid:
            self.kill()
            self.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        self._process.stdout.close()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery is gone"
        return line


def _by_detour(ports: dict[str, int]) -> Any:
    """A cluster client that goes to other ports than the nodes tell."""
    from redis.cluster import ClusterNode, RedisCluster  # noqa: PLC0415

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        return "127.0.0.1", ports.get(str(address[1]), address[1])

    nodes = [ClusterNode("127.0.0.1", port) for port in ports.values()]
    return RedisCluster(startup_nodes=nodes, address_remap=remap, decode_responses=True)


def _live(
    url: str, detour: dict[str, int] | None, forever: bool, monitor: bool, cleanup: bool, options: dict[str, Any]
) -> None:
    import gevent  # noqa: PLC0415 - the tests import this module in processes without gevent

    from pytask_core import Cleanup, Monitor, PyTask, Task  # noqa: PLC0415

    class Once(Task):
        NAME = "once"

        def start(self) -> str:
            self.redis.rpush("runs", self.id)
            return "done"

    class Forever(Task):
        NAME = "forever"

        def start(self) -> str:
            self.redis.rpush("runs", self.id)
            while forever:
                gevent.sleep(60)
            return "done"

    app = PyTask(_by_detour(detour) if detour else url, **options)
    app.add_tasks(Once, Forever, Monitor, Cleanup)
    if monitor:
        app.start_local_task("pytask/monitor", loop_interval=0.2)
    if cleanup:
        app.start_local_task("pytask/cleanup")
    app.run()


def main() -> None:
    """Read orders, fork workers, tell how they ended."""
    import gevent  # noqa: PLC0415
    from gevent import monkey  # noqa: PLC0415

    import pytask_core.tasks  # noqa: PLC0415, F401 - once here, not in each worker

    # Its own children, without gevent watching them: the nursery has no loop.
    fork, waitpid = monkey.get_original("os", ("fork", "waitpid"))
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = fork()
        if pid == 0:
            code = 1
            try:
                gevent.reinit()
                _live(**order)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
