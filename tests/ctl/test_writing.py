"""Where the result cannot be written, and words that people try."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ctl.conftest import Ctl, run_ctl
from tests.support.processes.supervisor_process import ROOT
from tests.support.servers.redis_server import RedisServer


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["queues"], ["queues", "--json"], ["show", "x"]])
def test_a_full_disk_is_named_as_what_it_is(redis_server: RedisServer, words: list[str]) -> None:
    redis_server.client().hset("task-x", mapping={"task": "hello", "data": "{}"})
    redis_server.client().lpush("new-task", "x")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from pytask_supervisor.ctl import run; run()", "--redis", redis_server.url, *words],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "pytaskctl: the result cannot be written: No space left on device\n"


def test_help_is_a_word_too(ctl: Ctl) -> None:
    assert ctl("help").out == ctl("--help").out != ""
    assert ctl("help", "start").out == ctl("start", "--help").out != ""


def test_a_url_of_valkey_is_one_of_redis(redis_server: RedisServer) -> None:
    with RedisServer(tcp=True) as server:
        done = run_ctl("--redis", server.url.replace("redis://", "valkey://"), "queues", "--json")
    assert done.json == {"new": 0, "active": 0, "end": 0}


def test_redis_and_key_names_come_from_the_file_as_with_the_supervisor(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = f"[tool.pytask-supervisor]\nredis = '{redis_server.url}'\nnew-queue = 'filed'\nworkers = 3\n"
    (tmp_path / "pyproject.toml").write_text(table)
    redis_server.client().lpush("filed", "x", "y")
    redis_server.client().lpush("named", "x")
    assert run_ctl("queues", "--json").json["new"] == 2
    assert run_ctl("queues", "--json", environ={"PYTASK_NEW_QUEUE": "named"}).json["new"] == 1
    assert run_ctl("queues", "--json", "--new-queue", "other").json["new"] == 0
    (tmp_path / "pyproject.toml").write_text("[tool.pytask-supervisor]\nredis = 7\n")
    done = run_ctl("queues")
    assert done.code == 2
    assert f"redis in {tmp_path}/pyproject.toml must be" in done.err
