"""A server dies and another takes its place: tasks run on, and nobody has to do anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from pytask_core.connection import RedisSource, disconnect, outage
from tests.support.core_apps import Echo, Forever
from tests.support.machine.descriptors import open_files
from tests.support.servers.sentinels import SERVICE, Sentinels
from tests.support.waiting import wait_until
from tests.worker.conftest import Live, Make

#: Renewals find quickly who is back; no failover outlasts the grace.
OPTIONS = {"update_task_interval": 0.5, "task_timeout": 60.0}


@pytest.fixture(autouse=True)
def _forget() -> None:
    Forever.forget()


def patiently(what: Callable[[], object]) -> Callable[[], object]:
    """``what``, or None while Redis cannot answer."""

    def ask() -> object:
        try:
            return what()
        except Exception as error:
            if outage(error) is None:
                raise
            return None

    return ask


def run_on_after(live: Live, kill: Callable[[], object]) -> None:
    """See that workers go on by themselves once ``kill`` was called: with new tasks, old ones and commands."""
    live.worker(Forever, Echo, **OPTIONS)
    old = live.helpers.start_task("forever")
    wait_until(lambda: Forever.running.get(old) == 1)

    kill()

    new = str(wait_until(patiently(lambda: live.helpers.start_task("echo", text="hi")), 30, "a task to be accepted"))
    wait_until(patiently(lambda: live.state(new) == "SUCCESS"), 10, "the new task to end")
    assert Forever.started[old] == [None], "the old one was never stopped"
    assert live.helpers.stop_task(old, wait=10)
    # A bare word is recorded nowhere, so that it comes only where the subscription works.
    last = live.helpers.start_task("forever")
    live.until(last, "RUNNING")

    def is_stopped_by_word() -> bool:
        live.redis.publish(live.keys.control(last), "stop")
        return live.state(last) == "STOPPED"

    wait_until(is_stopped_by_word, 10, "the control channel to be heard", interval=0.1)


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    with Sentinels("pa55", "sp4ss") as made:
        yield made


def test_tasks_run_on_when_the_sentinels_choose_another_master(sentinels: Sentinels, make_live: Make) -> None:
    run_on_after(make_live(sentinels, {}), sentinels.servers[0].kill)


def test_the_client_of_a_sentinel_that_the_user_made_leads_to_the_master_of_the_moment(sentinels: Sentinels) -> None:
    source = RedisSource(sentinels.client())
    client = source.store_client(2)

    assert source.describe().startswith("redis+sentinel://127.0.0.1:")
    assert source.describe().endswith(f"/{SERVICE}")
    assert client.info("replication")["role"] == "master"
    client.connection_pool.disconnect()
    source.close()
    sentinels.close_clients()


def test_a_service_that_no_sentinel_knows_is_an_outage_that_names_it(sentinels: Sentinels) -> None:
    client = RedisSource(sentinels.url.replace(SERVICE, "other")).store_client(1)
    before = open_files()

    with pytest.raises(redis.ConnectionError) as caught:
        client.ping()

    assert "'other'" in str(outage(caught.value))
    # Also those to the Sentinels are closed, and not left to the collector.
    assert open_files() > before
    disconnect(client)
    assert open_files() == before
