"""``ctl``: the command, run within the test (``support.ctl_process`` runs it as a process)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pytask_supervisor.ctl import main
from tests.support.servers.redis_server import RedisServer


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


Ctl = Callable[..., Done]


def run_ctl(*words: str, environ: dict[str, str] | None = None) -> Done:
    out, err = io.StringIO(), io.StringIO()
    code = main(words, environ or {}, out, err)
    assert "Traceback" not in err.getvalue()
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def ctl(redis_server: RedisServer) -> Ctl:
    """Run pytaskctl against the test's server."""
    return lambda *words: run_ctl(*words, environ={"PYTASK_REDIS_URL": redis_server.url})
