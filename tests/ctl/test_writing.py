"""Where the result cannot be written, and words that people try."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.ctl.conftest import Ctl, run_ctl
from tests.support.redis_server import RedisServer
from tests.support.supervisor_process import ROOT


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
