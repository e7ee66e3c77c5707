"""What ``pytaskctl`` reads from any program that answers at a control socket."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ctl.conftest import run_ctl
from tests.fuzz.shapes import EXAMPLES, as_line, changed, lines, values

SLOT = {"slot": 1, "pid": 5, "stage": "ready", "uptime": 3.0, "restarts": 0, "running": 1, "done": 2}
FIGURES = {"at": 5.0, "rate": 1.5, "memory": 1 << 20, "cpu": 0.5, "lag": 0.01, "up": True, "names": {"job": 1}}
SUPERVISOR = {"pid": 4, "version": "1", "label": "x", "uptime": 5.0, "quiet": False, "stopping": False}
CHANGE: dict[str, Any] = {"id": "a-1", "by": "SIGHUP", "asked": 1e9, "state": "rolling", "why": ""}
CHANGE |= {"workers": 2, "replaced": 1, "superseded_by": None}
SHOW = {"supervisor": SUPERVISOR, "workers": [{**SLOT, "figures": FIGURES}], "ended": {"SUCCESS": 1}, "deaths": {}}
SHOW["changes"] = [CHANGE]
DEATHS = [{"when": 1e9, "text": "worker 1 (pid 3) was killed", "uptime": 3.0, "running": 1}]
SAID = {"said": "done", "change": CHANGE}
ANSWERS: list[Any] = [{"told": SHOW}, {"told": DEATHS}, {"said": "done"}, SAID, {"refused": "no"}]

answers = changed(ANSWERS).map(as_line) | values.map(as_line) | lines


class Impostor:
    """Gives the answer that it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answer = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(5)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            with client:
                if not client.recv(4096):
                    return
                client.sendall(self.answer)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
        self._thread.join()
        self._listener.close()


@pytest.fixture(scope="module")
def impostor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Impostor]:
    made = Impostor(tmp_path_factory.mktemp("ctl") / "x.sock")
    yield made
    made.close()


VERBS = [["workers"], ["workers", "--json"], ["workers", "--deaths"], ["workers", "scale", "2"], ["workers", "reload"]]
VERBS.append(["workers", "reload", "--wait", "--timeout", "0.01"])


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(answer=answers, verb=st.sampled_from([*VERBS, ["top", "--once"]]))
def test_no_answer_ends_pytaskctl_with_a_traceback_or_reaches_the_terminal_raw(
    impostor: Impostor, answer: bytes, verb: list[str]
) -> None:
    impostor.answer = answer
    where = {"PYTASK_REDIS_URL": f"unix://{os.devnull}.no/socket"}
    done = run_ctl(*verb, "--control-socket", str(impostor.path), environ=where)
    assert done.code in {0, 1, 3}
    for text in (done.out, done.err):
        assert all(char.isprintable() or char in "\n\t" for char in text), repr(text)
