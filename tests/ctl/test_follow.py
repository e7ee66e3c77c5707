"""``start --wait`` and ``events``, with real workers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.ctl.conftest import Ctl
from tests.support.processes.ctl_process import CtlProcess
from tests.support.processes.worker_process import WorkerProcess
from tests.support.servers.redis_cluster import Node, ServerCluster
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def worker(redis_server: RedisServer) -> Iterator[WorkerProcess]:
    with WorkerProcess(redis_server.url) as process:
        yield process


def state_of(ctl: Ctl, task_id: str) -> str:
    done = ctl("show", task_id, "--json")
    return str(done.json["state"]) if done.code == 0 else ""


def test_wait_prints_the_output_and_tells_the_end_by_its_exit_code(ctl: Ctl, worker: WorkerProcess) -> None:
    done = ctl("start", "hello", 'text={"a": [1, "é"]}', "--wait", "--json")
    assert (done.code, done.json, done.err) == (0, {"hello": {"a": [1, "é"]}}, "")
    done = ctl("start", "talker", "text=many words", "--wait")
    assert (done.code, done.out, done.err) == (0, "many words\n", "")
    done = ctl("start", "failing", "--wait", "--id", "f")
    assert (done.code, done.out) == (1, "no luck\n")
    assert done.err == "pytaskctl: task f ended as ERROR\n"
    done = ctl("start", "broken", "--wait", "--json")
    assert done.code == 1
    assert "ValueError: a bug" in done.json
    assert "EXCEPTION" in done.err


def test_wait_hears_the_output_though_a_cleanup_removes_the_task_at_once(ctl: Ctl, redis_server: RedisServer) -> None:
    with WorkerProcess(redis_server.url, cleanup=True):
        for number in range(30):
            done = ctl("start", "hello", f"text={number}", "--wait", "--json")
            assert (done.code, done.json) == (0, {"hello": number})


def test_wait_ends_when_the_task_is_stopped(ctl: Ctl, worker: WorkerProcess, redis_server: RedisServer) -> None:
    with CtlProcess(redis_server.url, "start", "sleeper", "--id", "s", "--wait") as waiting:
        wait_until(lambda: state_of(ctl, "s") == "RUNNING")
        # A task may emit "success" itself, long before its end.
        redis_server.client().publish("task-s", '{"event": "success", "data": 1}')
        assert ctl("stop", "s").code == 0
        assert waiting.wait() == 1
        assert waiting.out.read() == ""
        assert waiting.err.read() == "pytaskctl: task s ended as STOPPED\n"


def test_wait_ends_when_the_task_is_removed(ctl: Ctl, redis_server: RedisServer) -> None:
    with CtlProcess(redis_server.url, "start", "sleeper", "--id", "s", "--wait") as waiting:
        wait_until(lambda: state_of(ctl, "s") == "WAIT")
        assert ctl("remove", "s").code == 0
        assert waiting.wait() == 1
        assert waiting.err.read() == "pytaskctl: task s ended as removed\n"


def test_ctrl_c_while_waiting_leaves_the_task_running(
    ctl: Ctl, worker: WorkerProcess, redis_server: RedisServer
) -> None:
    with CtlProcess(redis_server.url, "start", "sleeper", "--id", "s", "--wait") as waiting:
        wait_until(lambda: state_of(ctl, "s") == "RUNNING")
        waiting.ctrl_c()
        assert waiting.wait() == 130
        assert waiting.err.read() == "pytaskctl: task s goes on\n"
    assert state_of(ctl, "s") == "RUNNING"


def test_wait_survives_a_restart_of_the_server(own_server: RedisServer) -> None:
    client = own_server.client(decode_responses=True)
    with CtlProcess(own_server.url, "start", "hello", "--id", "x", "--wait", "--json") as waiting:
        wait_until(lambda: client.llen("new-task") == 1)
        own_server.close_clients()
        own_server.stop()
        # A connection that can be had again at once is not told of.
        assert "lost" in waiting.err.readline()
        own_server.start()
        with WorkerProcess(own_server.url):
            assert waiting.wait() == 0
        assert json.loads(waiting.out.read()) == {"hello": "world"}


def test_events_of_one_task_are_followed_from_its_first_to_its_last(
    ctl: Ctl, worker: WorkerProcess, redis_server: RedisServer
) -> None:
    with CtlProcess(redis_server.url, "events", "t", "--json") as following:
        wait_for_subscriber(redis_server)
        # Another task's events are not shown, nor does its end disturb the order.
        ctl("start", "hello", "--wait")
        ctl("start", "talker", "--id", "t", "times=2")
        seen = [json.loads(following.out.readline()) for _ in range(4)]
        following.ctrl_c()
        assert following.wait() == 0
        assert following.err.read() == ""
    assert seen == [
        {"id": "t", "event": "success", "data": "not yet"},
        {"id": "t", "event": "said", "data": {"text": "hi", "number": 0}},
        {"id": "t", "event": "said", "data": {"text": "hi", "number": 1}},
        {"id": "t", "event": "success", "data": "hi"},
    ]


def test_events_of_all_tasks_are_followed_without_their_commands(ctl: Ctl, redis_server: RedisServer) -> None:
    client = redis_server.client()
    with CtlProcess(redis_server.url, "events") as following:
        wait_for_subscriber(redis_server)
        client.publish("task-x-control", "stop")
        client.publish("task-x", "no event")
        client.publish("task-x", b"\xff\x00")
        client.publish("task-x", "[1]")
        client.publish("other", '{"event": "e", "data": 1}')
        client.publish(b"task-a\x1b\xff", '{"event": "e\\u001b", "data": {"b": "\\u001b"}}')
        client.publish("task-b", '{"event": "f"}')
        assert following.out.readline() == 'a\\x1b\\udcff\te\\x1b\t{"b": "\\u001b"}\n'
        assert following.out.readline() == "b\tf\tnull\n"
        following.ctrl_c()
        assert following.wait() == 0


def test_events_go_on_after_the_connection_was_lost(own_server: RedisServer) -> None:
    with CtlProcess(own_server.url, "events", "x") as following:
        wait_for_subscriber(own_server)
        own_server.kill()
        assert "lost" in following.err.readline()
        own_server.start()
        wait_for_subscriber(own_server)
        own_server.client().publish("task-x", '{"event": "back", "data": true}')
        assert following.out.readline() == "x\tback\ttrue\n"


def test_events_go_on_when_the_host_of_their_node_falls_silent() -> None:
    with ServerCluster(timeout=60_000) as cluster, CtlProcess(cluster.url, "events") as following:

        def listened_to() -> list[Node]:
            return [node for node in cluster.nodes if node.running and is_listened_to(node)]

        [node] = wait_until(listened_to, message="a subscriber")
        node.pause()
        try:
            began = time.monotonic()
            assert "lost (nothing came for 8 s)" in following.err.readline()
            others = [each for each in cluster.nodes if each is not node]
            wait_until(lambda: any(map(is_listened_to, others)), 10, "another node to be listened to")
            assert time.monotonic() - began < 20
            others[0].ask("PUBLISH", "task-x", '{"event": "heard", "data": 1}')
            assert following.out.readline() == "x\theard\t1\n"
        finally:
            node.resume()


def test_events_that_are_rare_are_no_loss(own_server: RedisServer) -> None:
    with CtlProcess(own_server.url, "events", "x") as following:
        wait_for_subscriber(own_server)
        client = own_server.client(decode_responses=True)

        def asked() -> int:
            return int(client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

        before = asked()
        wait_until(lambda: asked() >= before + 2, 20, "two signs of life")
        client.publish("task-x", '{"event": "rare", "data": 1}')
        assert following.out.readline() == "x\trare\t1\n"
        following.ctrl_c()
        assert following.wait() == 0
        assert following.err.read() == ""


def test_events_end_quietly_when_their_reader_leaves(redis_server: RedisServer) -> None:
    with CtlProcess(redis_server.url, "events") as following:
        wait_for_subscriber(redis_server)
        following.out.close()
        redis_server.client().publish("task-x", '{"event": "e"}')
        assert following.wait() == 0
        assert following.err.read() == ""


def wait_for_subscriber(server: RedisServer) -> None:
    """Until pytaskctl listens."""
    wait_until(lambda: is_listened_to(server), message="a subscriber")


def is_listened_to(server: RedisServer) -> bool:
    """Whether pytaskctl has subscribed there."""
    return any(row["name"] == "pytaskctl" and int(row["sub"]) + int(row["psub"]) for row in server.other_clients())
