"""The accounts that ``docs/security.rst`` gives to workers and producers, as they stand there, on real servers."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from pytask_core import PyTaskHelpers
from tests.ctl.conftest import run_ctl
from tests.process.conftest import JOBS
from tests.support.processes.supervisor_process import ROOT, SupervisorProcess
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer, client_options
from tests.support.waiting import wait_until

ACCOUNTS = re.findall(r"ACL SETUSER (.+)", (ROOT / "docs" / "security.rst").read_text())
STARTER, READER, WORKER = ACCOUNTS
REFUSED = r"(?i)no ?perm"


def grant(client: redis.Redis, account: str) -> None:
    """As an operator would type it."""
    client.execute_command("ACL", "SETUSER", *account.split())


def as_user(server: RedisServer, name: str) -> redis.Redis:
    return redis.Redis(port=server.port, username=name, password="SECRET", decode_responses=True, **client_options())


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One on which nothing is allowed without a name."""
    with RedisServer(tcp=True) as made:
        yield made


def denied(client: redis.Redis) -> list[dict[str, str]]:
    """What the server has refused, but for a look at its memory policy, which workers do without."""
    found = [{"who": entry["username"], "what": entry["object"]} for entry in client.acl_log()]
    return [entry for entry in found if entry["what"] not in ("config|get", "config")]


def test_workers_helpers_and_pytaskctl_do_all_they_do_with_the_account_of_the_documentation(
    server: RedisServer, tmp_path: Path
) -> None:
    root = server.client()
    grant(root, WORKER)
    url, socket = f"redis://worker:SECRET@127.0.0.1:{server.port}", str(tmp_path / "c.sock")
    (tmp_path / "jobs.py").write_text(JOBS.partition("def make()")[0])
    words = ["--workers", "2", "--tasks", "jobs", "--retention", "0", "--metrics-port", "0", "--control-socket", socket]
    with SupervisorProcess(tmp_path, *words, environ={"PYTASK_REDIS_URL": url}) as supervisor:
        supervisor.wait_ready(2)
        with closing(PyTaskHelpers(url)) as helpers:
            ended = [helpers.start_task("hello", cleanup=False) for _ in range(20)]
            wait_until(lambda: all(helpers.get_task(one).get("state") == "SUCCESS" for one in ended))
            lasting = helpers.start_tasks([("forever", {})] * 5)
            wait_until(lambda: all(helpers.get_task(one).get("state") == "RUNNING" for one in lasting))
            helpers.stop_task(lasting[0])
            wait_until(lambda: helpers.get_task(lasting[0]).get("state") == "STOPPED")
            for verb in ("restart", "reload", "stop", "restart", "show", "remove"):
                assert run_ctl("--redis", url, verb, lasting[1]).code == 0, verb
            for verb in (
                ["list"],
                ["queues"],
                ["top", "--once", "--control-socket", socket],
                ["start", "hello", "--wait"],
            ):
                assert run_ctl("--redis", url, *verb).code == 0, verb
            helpers.remove_task(ended[0])
            gone = helpers.start_task("hello")
            wait_until(lambda: not helpers.get_task(gone), message="Cleanup")
            supervisor.send(signal.SIGKILL, slot=1)
            supervisor.wait_for("back in the queue")
            supervisor.wait_ready(2, times=2)
        assert supervisor.stop() == 0
        assert denied(root) == []


@pytest.mark.parametrize("names", [{}, {"tag": "{pytask}"}], ids=["many slots", "one slot"])
def test_that_account_does_on_a_cluster_too(names: dict[str, str], tmp_path: Path) -> None:
    tag = names.get("tag", "")
    commands = WORKER[WORKER.index("+@all") :]
    # As the documentation says of such names.
    account = f"worker reset on >SECRET ~{tag}* &{tag}task-* &{tag}task-*-control {commands}" if tag else WORKER
    keys = {"task_set": "tasks", "task_prefix": "task-", "new_queue": "new-task", "end_queue": "end-task"}
    options = {name: tag + value for name, value in keys.items()}
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    (tmp_path / "jobs.py").write_text(JOBS.partition("def make()")[0])
    with ServerCluster() as cluster:
        for node in cluster.nodes:
            grant(node.client(), account)
        url = cluster.url.replace("://", "://worker:SECRET@")
        with SupervisorProcess(tmp_path, "--workers", "1", "--tasks", "jobs", "--redis", url, *flags) as supervisor:
            supervisor.wait_ready(1)
            with closing(PyTaskHelpers(url, **options)) as helpers:
                ended = [helpers.start_task("hello") for _ in range(5)]
                wait_until(lambda: all(helpers.get_task(one).get("state") == "SUCCESS" for one in ended))
                lasting = helpers.start_task("forever")
                wait_until(lambda: helpers.get_task(lasting).get("state") == "RUNNING")
                helpers.stop_task(lasting)
                wait_until(lambda: helpers.get_task(lasting).get("state") == "STOPPED")
                unknown = helpers.start_task("no-such-name")
                wait_until(lambda: helpers.get_parked_task_ids() == [unknown])
                helpers.remove_task(unknown)
                told = run_ctl("--redis", url, *flags, "queues")
                assert told.code == 0, told.err
            assert supervisor.stop() == 0
        for node in cluster.nodes:
            assert denied(node.client()) == []


def test_a_producer_starts_tasks_of_its_own_and_can_do_nothing_else(server: RedisServer, tmp_path: Path) -> None:
    root = server.client()
    grant(root, STARTER)
    (tmp_path / "jobs.py").write_text(JOBS)
    with (
        SupervisorProcess(tmp_path, "--workers", "1", "--app", "jobs:app", "--redis", server.url) as supervisor,
        as_user(server, "shop") as shop,
    ):
        supervisor.wait_ready(1)
        shop.hset("task-shop-1", mapping={"task": "hello", "data": '{"text": "hi"}'})
        shop.lpush("new-task", "shop-1")
        wait_until(
            lambda: root.hget("task-shop-1", "state") == b"SUCCESS" or root.hget("task-shop-1", "state") == "SUCCESS"
        )
        root.hset("task-other", mapping={"task": "forever"})
        for refused in (
            ("HSET", "task-other", "command", "stop"),
            ("HGETALL", "task-shop-1"),
            ("LRANGE", "new-task", "0", "-1"),
            ("DEL", "new-task"),
            ("SADD", "tasks", "x"),
            ("ZADD", "{tasks}:workers", "4e12", "fake"),
            ("PUBLISH", "task-other-control", "stop"),
            ("SUBSCRIBE", "task-shop-1"),
            ("EVAL", "return 1", "0"),
            ("KEYS", "*"),
            ("CONFIG", "GET", "*"),
            ("FLUSHALL",),
        ):
            with pytest.raises(redis.ResponseError, match=REFUSED):
                shop.execute_command(*refused)
        # As the documentation says: it may push any id.
        shop.lpush("new-task", "other")
        wait_until(lambda: root.hget("task-other", "state") in (b"RUNNING", "RUNNING"))
        assert supervisor.stop() == 0


def test_a_producer_that_reads_hears_of_its_own_tasks_only(server: RedisServer) -> None:
    root = server.client()
    grant(root, READER)
    root.hset("task-other", mapping={"output": '"secret"'})
    with as_user(server, "shop") as shop, shop.pubsub() as heard:
        shop.hset("task-shop-1", mapping={"task": "hello"})
        assert shop.hgetall("task-shop-1") == {"task": "hello"}
        heard.subscribe("task-shop-1")
        assert heard.get_message(timeout=5)["type"] == "subscribe"
        root.publish("task-shop-1", "x")
        assert heard.get_message(timeout=5)["data"] == "x"
        with pytest.raises(redis.ResponseError, match=REFUSED):
            shop.hgetall("task-other")
    with as_user(server, "shop") as shop, shop.pubsub() as heard:
        heard.subscribe("task-other")
        with pytest.raises(redis.ResponseError, match=REFUSED):
            heard.get_message(timeout=5)
