"""What a worker may do without: commands, keys and channels that the server does not permit, or does not know."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import gevent
import pytest

from pytask_core import PyTask
from pytask_core.errors import RedisRefused
from pytask_supervisor.shared.redact import redact
from tests.support.core_apps import Echo, Forever
from tests.support.processes.supervisor_process import ROOT
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer, is_valkey
from tests.support.servers.setups import Setup
from tests.support.waiting import wait_until
from tests.worker.conftest import Live, Make

#: As the documentation gives them, for any names of keys and channels.
COMMANDS = re.findall(r"ACL SETUSER worker .*? (\+@all .*)", (ROOT / "docs" / "security.rst").read_text())
ALL = f"~* &* {COMMANDS[0]}"


def url_of(server: RedisServer | ServerCluster, rights: str) -> str:
    """Where a user with these rights finds the server."""
    admin = server.client(decode_responses=True)
    if isinstance(server, ServerCluster):
        for node in server.nodes:
            node.ask("ACL", "SETUSER", "worker", "reset", "on", ">secret", *rights.split())
    else:
        admin.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">secret", *rights.split())
    scheme, _, rest = server.url.partition("://")
    return f"{scheme}://worker:secret@{rest}"


@pytest.fixture
def tcp_live(setup: Setup, make_live: Make) -> Iterator[Live]:
    """Workers on a server of this test's own, to which users log in."""
    with setup.server() if setup.is_cluster else RedisServer(tcp=True) as server:
        yield make_live(server)


def begin(live: Live, rights: str, **options: float) -> PyTask:
    """An app whose worker has a user with these rights."""
    app = PyTask(url_of(live.server, rights), **live.names, **options)  # type: ignore[arg-type]
    app.add_tasks(Echo, Forever)
    live.apps.append(app)
    return app


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("less", ["", "-info", "-client|list", "-client", "-config -client -info"])
def test_with_the_rights_of_the_documentation_and_with_less_all_goes_well(
    tcp_live: Live, caplog: pytest.LogCaptureFixture, less: str
) -> None:
    live = tcp_live
    Forever.forget()
    worker = live.begin(begin(live, f"{ALL} {less}"))
    assert live.state(live.run("echo")) == "SUCCESS"
    task_id = live.helpers.start_task("forever")
    live.until(task_id, "RUNNING")
    done: list[int] = []
    worker.hand_back("somebody-1-dead", done.append)
    wait_until(lambda: done == [0])
    worker.count_queues(lambda lengths: done.append(lengths["active"]))
    wait_until(lambda: done == [0, 1])
    live.end(worker)
    assert live.state(task_id) == "WAIT"
    words = [each for each in said(caplog) if "does not show its version" not in each]
    assert words == []
    assert len(said(caplog)) == ("-info" in less)


def test_what_a_take_that_cannot_be_cut_short_moves_late_is_handed_back_once_more(tcp_live: Live) -> None:
    live = tcp_live
    worker = live.begin(begin(live, f"{ALL} -client|list"))
    # Its own take cannot be cut short either, and would be served first.
    live.go_quiet(worker)
    dead = live.stores.worker(live.store_client(), live.store_client(), live.keys, "h-1-dead")
    dead.register(["echo"])
    gevent.sleep(0)
    taking = gevent.spawn(dead.take, 0.9)
    wait_until(lambda: any("blmove" in each["cmd"] for each in live.server.other_clients()))
    done: list[int] = []
    worker.hand_back("h-1-dead", done.append)
    wait_until(lambda: done == [0])
    live.push("late", "echo")
    wait_until(lambda: live.redis.llen(live.keys.inbox("h-1-dead")) == 1)
    taking.join(3)
    # Into the reach of others again, well before a Monitor would look.
    wait_until(lambda: live.redis.lrange(live.keys.new_queue, 0, -1) == ["late"], 3)


@pytest.mark.parametrize("less", ["-blmove", "-evalsha -eval", "-blocking", "-time", "-hset", "-zadd"])
def test_a_right_without_which_no_worker_can_work_is_named_and_ends_it(tcp_live: Live, less: str) -> None:
    app = begin(tcp_live, f"{ALL} {less.replace('-blocking', '-@blocking')}")
    words = r"give its user the right \+(?:blmove|eval|time|hset|zadd)"
    if less in {"-time", "-hset", "-zadd"} and not is_valkey():
        words = "the script can't run this command"  # Redis 7.0 does not say which it was
    with pytest.raises(RedisRefused, match=f"refuses us: .*{words}") as caught:
        app.create_worker().run()
    assert redact(str(caught.value)) == str(caught.value)


def test_without_the_right_to_channels_tasks_run_and_a_sentence_names_it(
    tcp_live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live = tcp_live
    Forever.forget()
    worker = live.begin(begin(live, f"{ALL} resetchannels", update_task_interval=0.2))
    (warning,) = said(caplog)
    assert "the events of tasks are lost, and stops and reloads are found by the next renewal" in warning
    assert "give the user of Redis the right &*" in warning
    assert live.state(live.run("echo")) == "SUCCESS"
    task_id = live.helpers.start_task("forever")
    live.until(task_id, "RUNNING")
    # By a client that may not publish either.
    assert live.apps[-1].helpers.stop_task(task_id)
    live.until(task_id, "STOPPED")
    assert live.apps[-1].helpers.restart_task(task_id)
    live.until(task_id, "RUNNING")
    assert live.apps[-1].helpers.reload_task(task_id, wait=5)
    assert live.apps[-1].helpers.remove_task(task_id)
    wait_until(lambda: worker.running == 0)
    live.end(worker)
    assert not [each for each in said(caplog) if "is away" in each]
    assert live.redis.scard(live.keys.task_set) == 0


@pytest.mark.parametrize("command", ["CLIENT", "INFO", "CONFIG", "PUBSUB"])
def test_a_server_that_does_not_know_a_command_which_is_not_needed_is_used(
    make_live: Make, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    with RedisServer(tcp=True, extra=("--rename-command", command, "")) as server:
        live = make_live(server, {})
        worker = live.worker(Echo)
        assert live.state(live.run("echo")) == "SUCCESS"
        live.end(worker)
        live.close()
        assert len(said(caplog)) == (command == "INFO")


@pytest.mark.parametrize("command", ["BLMOVE", "EVALSHA", "TIME", "ZADD"])
def test_a_server_that_does_not_know_a_command_which_is_needed_is_refused_in_a_sentence(
    make_live: Make, command: str
) -> None:
    with RedisServer(tcp=True, extra=("--rename-command", command, "")) as server:
        live = make_live(server, {})
        with pytest.raises(RedisRefused, match=r"pytask needs all commands of Redis 6\.2 or Valkey") as caught:
            live.app(Echo).create_worker().run()
        live.close()
    assert redact(str(caught.value)) == str(caught.value)
