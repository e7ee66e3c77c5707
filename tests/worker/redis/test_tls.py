"""TLS with certificates on both sides and a user of the server: alone, and in a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytask_core import PyTask, PyTaskException, PyTaskHelpers
from pytask_core.connection import RedisSource, disconnect, outage, refusal
from pytask_core.errors import RedisRefused
from tests.support.core_apps import Echo
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.setups import TAGGED
from tests.support.servers.tls import PASSWORD, USER, Authority, TlsNode, TlsServer, require_program
from tests.support.waiting import wait_until
from tests.worker.conftest import Make


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    require_program()
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[TlsServer]:
    with TlsServer(authority) as made:
        yield made


def test_tasks_run_over_tls(server: TlsServer, make_live: Make) -> None:
    live = make_live(server, {})
    live.worker(Echo)

    assert live.output(live.run("echo", text="hi")) == '{"text": "hi"}'
    rows = server.other_clients()
    assert {row["user"] for row in rows} == {USER}
    server.close_clients()


def test_tasks_run_over_tls_on_a_cluster(authority: Authority, make_live: Make) -> None:
    with ServerCluster(node=TlsNode, authority=authority) as cluster:
        url = authority.url("rediss+cluster", f"127.0.0.1:{cluster.nodes[1].port}")
        app = PyTask(url, **TAGGED)
        live = make_live(cluster.nodes[0], TAGGED)
        app.add_tasks(Echo)
        live.apps.append(app)
        live.begin(app)

        task_id = app.helpers.start_task("echo", text="hi")

        wait_until(lambda: app.helpers.get_task(task_id, "state") == "SUCCESS")
        assert app.redis.get("{pytask}nothing") is None
        live.close()
        live.greenlets.clear()


def test_options_say_the_same_as_a_url(server: TlsServer) -> None:
    options = {"host": "127.0.0.1", "port": server.port, "ssl": True, "username": USER, "password": PASSWORD}
    helpers = PyTaskHelpers({**options, **server.authority.options()})

    task_id = helpers.start_task("job")

    helpers.remove_task(task_id)
    helpers.close()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("a CA that did not sign the server's certificate", "CERTIFICATE_VERIFY_FAILED"),
        ("no certificate of our own", "certificate"),
        ("no password", "check the"),
    ],
)
def test_who_is_not_trusted_is_refused_with_a_sentence(server: TlsServer, other: str, words: str) -> None:
    url = {
        "a CA": server.url_with(ssl_ca_certs=server.authority.stranger),
        "no certificate": server.url_with(ssl_certfile="", ssl_keyfile=""),
        "no password": server.url.replace("hunter", "wrong"),
    }[" ".join(other.split()[:2])]
    worker = PyTask(url).create_worker()

    with pytest.raises(RedisRefused, match=words) as caught:
        worker.run()

    assert "hunter" not in str(caught.value)
    assert "check the" in str(caught.value)


def test_a_certificate_that_is_not_there_is_refused_at_once(server: TlsServer, tmp_path: Path) -> None:
    with pytest.raises(PyTaskException, match=r"ssl_ca_certs=.*nothing.* cannot be read") as caught:
        RedisSource(server.url_with(ssl_ca_certs=str(tmp_path / "nothing")))

    assert "hunter" not in str(caught.value)


def test_a_server_without_tls_is_an_outage_and_no_refusal(server: TlsServer) -> None:
    client = RedisSource(f"redis://127.0.0.1:{server.port}").store_client(1)

    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is asked
        client.ping()

    assert outage(caught.value) is not None
    assert refusal(caught.value) is None
    disconnect(client)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hunter2/x@host:1",
        "redis://me:hunter2#x@host:1",
        "redis://:hunter2@host:port",
        "redis://host:1?password=hunter2&nonsense=1",
        "redis://host:1?socket_timeout=hunter2",
        "redis+cluster://me:hunter2/x@host:1",
        "redis+sentinel://:hunter2@host:1",
        "redis+sentinel://host:1/s?sentinel_password=hunter2&nonsense=1",
        "http://me:hunter2@host",
        "hunter2",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(PyTaskException) as caught:
        RedisSource(url)

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:hunter2@host:1/2", "redis://host:1/2"),
        ("rediss://me:hunter2@host:1", "rediss://host:1/0"),
        ("unix:///x.sock?password=hunter2", "unix:///x.sock"),
        ("redis+cluster://me:hunter%402@[::1]:1,b:2?password=hunter2", "redis+cluster://[::1]:1,b:2"),
        ("rediss+cluster://me:hunter2@a:1", "rediss+cluster://a:1"),
        ("redis+sentinel://me:hunter2@a,b:2/s/3?sentinel_password=hunter2", "redis+sentinel://a:26379,b:2/s"),
    ],
)
def test_where_redis_is_is_said_without_its_password(url: str, shown: str) -> None:
    assert RedisSource(url).describe() == shown
