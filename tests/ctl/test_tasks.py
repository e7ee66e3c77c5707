"""The verbs that are done at once, against a real server; no worker runs here."""

from __future__ import annotations

import json
import time

import pytest

from pytask_core.connection import disconnect
from pytask_core.keys import RedisKeys
from tests.ctl.conftest import Ctl, run_ctl
from tests.store.conftest import Desk
from tests.support.servers.redis_server import RedisServer

#: A word may be bytes that are no UTF-8; Python has them as surrogates.
ODD_IDS = ['a b\t"{*?[bold]\x1b[31mé\n', "[bold]\udcff"]


def test_start_queues_the_task_with_its_data_and_prints_the_id(ctl: Ctl, redis_server: RedisServer) -> None:
    done = ctl("start", "hello", "text=hi", "count=3")
    client = redis_server.client(decode_responses=True)
    (task_id,) = client.lrange("new-task", 0, -1)
    assert (done.code, done.out, done.err) == (0, f"{task_id}\n", "")
    assert client.hget(f"task-{task_id}", "task") == "hello"
    assert json.loads(client.hget(f"task-{task_id}", "data")) == {"text": "hi", "count": 3}
    assert client.hget(f"task-{task_id}", "cleanup") is None


def test_start_takes_an_id_and_keeps_the_task_after_its_end(ctl: Ctl, redis_server: RedisServer) -> None:
    done = ctl("start", "hello", "--id", "mine", "--no-cleanup", "--json")
    assert done.json == {"id": "mine", "done": True}
    assert redis_server.client().hget("task-mine", "cleanup") == b"false"


def test_data_may_have_keys_that_the_helpers_use_themselves(ctl: Ctl, redis_server: RedisServer) -> None:
    assert ctl("start", "hello", "--id", "x", "task_id=1", "cleanup=2", "self=3").code == 0
    data = json.loads(redis_server.client().hget("task-x", "data"))
    assert data == {"task_id": 1, "cleanup": 2, "self": 3}
    assert ctl("start", "hello", "--no-cleanup", "task_id=1").code == 0


@pytest.mark.parametrize("verb", ["stop", "restart", "reload", "remove", "show"])
def test_an_unknown_id_gets_a_sentence_that_names_it(ctl: Ctl, verb: str) -> None:
    done = ctl(verb, "nobody")
    assert done.code == 1
    assert done.err == "pytaskctl: there is no task nobody\n"


def test_with_several_ids_the_others_are_done(ctl: Ctl) -> None:
    ctl("start", "hello", "--id", "one")
    ctl("start", "hello", "--id", "two")
    done = ctl("stop", "one", "nobody", "two", "--json")
    assert done.code == 1
    assert done.json == [
        {"id": "one", "done": True},
        {"id": "nobody", "done": False},
        {"id": "two", "done": True},
    ]
    assert done.err == "pytaskctl: there is no task nobody\n"
    assert ctl("show", "two", "--json").json["state"] == "STOPPED"


def test_a_stopped_task_is_told_from_an_unknown_one(ctl: Ctl) -> None:
    ctl("start", "hello", "--id", "one")
    assert ctl("stop", "one").out == "one\tstopped\n"
    again = ctl("stop", "one")
    assert again.code == 1
    assert "one" in again.err
    assert "STOPPED" in again.err
    assert ctl("reload", "one").code == 1
    assert ctl("restart", "one", "--json").json == {"id": "one", "done": True}
    assert ctl("show", "one", "--json").json["state"] == "WAIT"
    assert ctl("remove", "one").code == 0
    assert ctl("show", "one").code == 1


def test_what_runs_is_shown_with_its_worker_and_how_long_that_has_been_silent(
    ctl: Ctl, redis_server: RedisServer
) -> None:
    client = redis_server.client()
    for task_id, worker in (("a", "host-1-ab"), ("b", "gone-2-cd")):
        ctl("start", "hello", "--id", task_id)
        client.hset(f"task-{task_id}", mapping={"state": "RUNNING", "owner": f"{worker}:7"})
    seconds, _ = client.time()
    client.zadd("{tasks}:workers", {"host-1-ab": (seconds - 48) * 1000})

    told = {line[0]: line[1] for line in ctl("stop", "a", "b").lines}
    listed = {task["id"]: task for task in ctl("list", "--json").json}
    shown = ctl("show", "a", "--json").json

    assert told["a"].startswith("told to stop: recorded, and its worker is host-1-ab, last heard from 4")
    assert told["b"] == "told to stop: recorded, and its worker is gone-2-cd, no longer registered"
    assert listed["a"]["worker"] == "host-1-ab"
    assert 47 <= listed["a"]["silent"] <= 60
    assert "owner" not in listed["a"]
    assert (listed["b"]["worker"], listed["b"]["silent"]) == ("gone-2-cd", None)
    assert {line[4] for line in ctl("list").lines} >= {"gone-2-cd, no longer registered"}
    assert (shown["worker"], shown["owner"]) == ("host-1-ab", "host-1-ab:7")
    done = ctl("restart", "b", "--json").json
    assert done == {"id": "b", "done": True, "worker": "gone-2-cd", "silent": None}


def test_show_has_data_and_output_parsed(ctl: Ctl, redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.hset(
        "task-x",
        mapping={"task": "t", "data": '{"a": [1]}', "state": "SUCCESS", "output": '{"b": null}'},
    )
    assert ctl("show", "x", "--json").json == {
        "id": "x",
        "task": "t",
        "data": {"a": [1]},
        "state": "SUCCESS",
        "output": {"b": None},
    }
    assert ["output", '{"b": null}'] in ctl("show", "x").lines
    client.hset("task-x", "output", "no {json")
    assert ctl("show", "x", "--json").json["output"] == "no {json"


def test_list_has_each_task_once_wherever_it_is(ctl: Ctl, redis_server: RedisServer) -> None:
    client = redis_server.client()
    ctl("start", "hello", "--id", "waits", "big=" + "x" * 1000)
    client.hset("task-by-hand", "task", "hello")
    client.lpush("new-task", "by-hand", "removed", "")
    client.hset("task-runs", mapping={"task": "hello", "state": "RUNNING", "last_update": "1e9"})
    client.sadd("tasks", "runs")
    client.hset("task-ended", mapping={"task": "t", "state": "ERROR", "output": '"o"'})
    client.lpush("end-task", "ended")
    client.sadd("tasks", "ended")
    done = ctl("list", "--json")
    assert {task["id"]: task["state"] for task in done.json} == {
        "waits": "WAIT",
        "by-hand": "WAIT",
        "runs": "RUNNING",
        "ended": "ERROR",
    }
    assert len(done.json) == 4
    assert not any({"data", "output"} & task.keys() for task in done.json)
    assert [task["id"] for task in ctl("list", "--state", "error", "--json").json] == ["ended"]
    assert {line[0] for line in ctl("list", "--state", "WAIT").lines} == {"waits", "by-hand"}
    assert ctl("list", "--state", "SUCCESS", "--json").json == []
    assert ctl("list", "--state", "SUCCESS").out == ""


def test_queues_counts_new_active_and_ended(ctl: Ctl, redis_server: RedisServer) -> None:
    redis_server.client().lpush("end-task", "a", "b")
    ctl("start", "hello")
    assert ctl("queues", "--json").json == {"new": 1, "active": 0, "end": 2}
    assert ctl("queues").lines == [["new", "1"], ["active", "0"], ["end", "2"]]


def test_queues_counts_parked_tasks_and_names_what_no_worker_knows(ctl: Ctl, redis_server: RedisServer) -> None:
    desk = Desk(redis_server, RedisKeys())
    desk.park("a", "b", name="mail/send")
    desk.park("c", name="odd\x1b[31m")
    disconnect(desk.redis)

    assert ctl("queues", "--json").json == {
        "new": 0,
        "active": 0,
        "end": 0,
        "parked": 3,
        "parked_names": {"mail/send": 2, "odd\x1b[31m": 1},
    }
    assert ctl("queues").lines[3:] == [["parked", "3"], ["parked: mail/send", "2"], ["parked: odd\\x1b[31m", "1"]]
    assert {task["id"]: task["state"] for task in ctl("list", "--json").json} == dict.fromkeys("abc", "WAIT")
    assert ctl("show", "a", "--json").json["state"] == "WAIT"
    assert (ctl("stop", "a").code, ctl("remove", "b").code, ctl("restart", "c").code) == (0, 0, 0)
    assert ctl("queues", "--json").json == {"new": 1, "active": 1, "end": 0}


@pytest.mark.parametrize("odd_id", ODD_IDS)
def test_odd_ids_come_back_as_they_were_and_do_nothing_to_the_terminal(
    ctl: Ctl, redis_server: RedisServer, odd_id: str
) -> None:
    started = ctl("start", "hello", "--id", odd_id, "--json")
    assert started.json["id"] == odd_id
    assert redis_server.client().lrange("new-task", 0, -1) == [odd_id.encode(errors="surrogateescape")]
    assert ctl("list", "--json").json[0]["id"] == odd_id
    for verb in (["list"], ["show", odd_id], ["stop", odd_id], ["stop", odd_id]):
        done = ctl(*verb)
        for stream in (done.out, done.err):
            assert all(char.isprintable() or char in "\n\t" for char in stream)
            assert "[bold]" in stream or not stream
    assert ctl("show", odd_id, "--json").json["state"] == "STOPPED"


def test_key_names_are_those_of_the_flags_or_the_environment(ctl: Ctl, redis_server: RedisServer) -> None:
    names = ["--task-set", "s", "--task-prefix", "p:", "--new-queue", "n", "--end-queue", "e"]
    ctl(*names, "start", "hello", "--id", "x")
    client = redis_server.client()
    assert client.lrange("n", 0, -1) == [b"x"]
    assert client.hget("p:x", "task") == b"hello"
    environ = {
        "PYTASK_REDIS_URL": redis_server.url,
        "PYTASK_TASK_SET": "s",
        "PYTASK_TASK_PREFIX": "p:",
        "PYTASK_NEW_QUEUE": "n",
        "PYTASK_END_QUEUE": "e",
    }
    assert run_ctl("queues", "--json", environ=environ).json["new"] == 1
    clash = ctl("queues", "--new-queue", "tasks")
    assert clash.code == 1
    assert "differ" in clash.err


def test_bad_input_gets_a_sentence_and_queues_nothing(ctl: Ctl, redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.set("task-text", "no hash")
    for words in (
        ["start", ""],
        ["start", "hello", "--id", ""],
        ["start", "hello", "--id", "text"],
        ["start", "hello", "text=" + "x" * 2_000_000],
        ["show", "text"],
        ["stop", "text"],
    ):
        done = ctl(*words)
        assert done.code == 1, words[:2]
        assert len(done.err.splitlines()) == 1
        assert len(done.err) < 500
    assert client.llen("new-task") == 0
    assert ctl("list").code == 0


def test_a_key_that_holds_no_hash_is_listed_as_such(ctl: Ctl, redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.set("task-text", "no hash")
    client.lpush("new-task", "text")
    assert ctl("list").lines == [["text", "", "?", "", ""]]


def test_a_hundred_thousand_tasks_are_listed_in_a_few_seconds(ctl: Ctl, redis_server: RedisServer) -> None:
    client = redis_server.client()
    pipe = client.pipeline(transaction=False)
    for number in range(100_000):
        pipe.hset(f"task-{number}", mapping={"task": "t", "state": "RUNNING", "data": "{}"})
    pipe.sadd("tasks", *range(100_000))
    pipe.execute()
    began = time.monotonic()
    done = ctl("list")
    assert len(done.lines) == 100_000
    assert len({line[0] for line in done.lines}) == 100_000
    assert time.monotonic() - began < 30
