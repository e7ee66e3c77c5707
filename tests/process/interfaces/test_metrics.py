"""``--metrics-port`` of a real supervisor: values compared with what was really run, health with what can be done."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pytask_core import PyTaskHelpers
from tests.process.conftest import Start
from tests.support.processes.control import NAME, Control
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

ENDS = ("SUCCESS", "ERROR", "EXCEPTION", "STOPPED")


class Scraper:
    """Reads what a supervisor serves."""

    def __init__(self, supervisor: SupervisorProcess) -> None:
        self.supervisor = supervisor
        supervisor.wait_for("metrics at http://")
        found = re.search(r"metrics at (http://127\.0\.0\.1:(\d+))/metrics", supervisor.text)
        assert found is not None
        self.url, self.port = found[1], int(found[2])

    def page(self, path: str = "/metrics", **headers: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=10) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def samples(self) -> dict[tuple[str, ...], float]:
        """Each sample by its name and its labels' values, those in the order of the labels' names."""
        found = {}
        for family in text_string_to_metric_families(self.page()[1]):
            for sample in family.samples:
                labels = (value for _, value in sorted(sample.labels.items()))
                found[(sample.name, *labels)] = sample.value
        return found

    def ended(self, name: str, state: str) -> float:
        return self.samples().get(("pytask_tasks_ended_total", name, state), 0)

    def is_well(self) -> bool:
        return self.page("/healthz")[0] == 200


@pytest.fixture
def scraper(start: Start, folder: Path) -> Iterator[Scraper]:
    """Two workers, and metrics at some port."""
    control = Control(folder / NAME)
    with start("--workers", "2", "--metrics-port", "0", *control.words) as supervisor:
        supervisor.wait_ready(2)
        yield Scraper(supervisor)
        assert supervisor.stop() == 0


def test_the_values_are_those_of_what_was_run(
    scraper: Scraper, helpers: PyTaskHelpers, redis_server: RedisServer
) -> None:
    scraper.supervisor.expected = ["ended as EXCEPTION"]
    hello = helpers.start_tasks([("hello", {"text": "x"})] * 30)
    wrong = helpers.start_task("hello", nosuch=1)
    forever = helpers.start_tasks([("forever", {})] * 5)
    client = redis_server.client()
    client.hset("task-foreign", mapping={"task": "hello"})
    client.lpush("new-task", "foreign")
    wait_until(lambda: helpers.get_task(forever[-1], "state") == "RUNNING")
    assert helpers.stop_task(forever[0], wait=10)
    wait_until(lambda: scraper.ended("forever", "STOPPED") == 1 and scraper.ended("hello", "SUCCESS") == 31, 15)
    states = [helpers.get_task(task_id, "state") for task_id in (*hello, "foreign", wrong)]

    samples = scraper.samples()

    assert states == ["SUCCESS"] * 31 + ["EXCEPTION"]
    assert {state: samples["pytask_tasks_ended_total", "hello", state] for state in ENDS} == {
        "SUCCESS": 31,
        "ERROR": 0,
        "EXCEPTION": 1,
        "STOPPED": 0,
    }
    assert samples["pytask_tasks_claimed_total",] == 37
    assert samples["pytask_tasks_running", "forever"] == 4
    assert samples["pytask_task_run_seconds_count", "hello"] == 32
    assert samples["pytask_task_run_seconds_bucket", "+Inf", "hello"] == 32
    # Nobody knows how long the foreign one had waited.
    assert samples["pytask_task_queue_seconds_count", "hello"] == 31
    assert 0 < samples["pytask_task_queue_seconds_sum", "hello"] < 31 * 10
    assert samples["pytask_workers", "ready"] == 2
    for slot in ("1", "2"):
        assert samples["pytask_worker_redis_up", slot] == 1
        assert samples["pytask_worker_memory_bytes", slot] > 1_000_000
    wait_until(lambda: scraper.samples().get(("pytask_queue_length", "active")) == 5, 15)
    assert scraper.samples()["pytask_queue_length", "end"] == 32


def test_no_counter_goes_back_when_a_worker_dies(scraper: Scraper, helpers: PyTaskHelpers) -> None:
    supervisor = scraper.supervisor
    helpers.start_tasks([("hello", {})] * 40)
    wait_until(lambda: scraper.ended("hello", "SUCCESS") == 40, 15)
    wait_until(lambda: supervisor.age() > 1.5)
    before = scraper.samples()
    supervisor.send(signal.SIGKILL, slot=1)
    supervisor.send(signal.SIGKILL, slot=2)
    supervisor.wait_ready(2, times=2)
    helpers.start_tasks([("hello", {})] * 10)
    wait_until(lambda: scraper.ended("hello", "SUCCESS") == 50, 15)

    after = scraper.samples()

    counters = [key for key in before if key[0].endswith(("_total", "_count", "_sum", "_bucket"))]
    assert len(counters) > 40
    assert [key for key in counters if after[key] < before[key]] == []
    assert (after["pytask_worker_deaths_total", "signal"], after["pytask_worker_restarts_total", "1"]) == (2, 1)


def test_what_a_worker_did_before_it_left_is_counted_to_the_last(scraper: Scraper, helpers: PyTaskHelpers) -> None:
    """It tells what it did since its last beat as it goes."""
    control = Control(scraper.supervisor.folder / NAME)
    for round_ in range(1, 4):
        ids = helpers.start_tasks([("hello", {})] * 20)
        wait_until(lambda: all(helpers.get_task(each, "state") == "SUCCESS" for each in ids))  # noqa: B023
        control.ask(do="restart")
        wait_until(lambda: [worker["restarts"] for worker in control.workers()] == [round_] * 2, 30)  # noqa: B023
        wait_until(lambda: control.stages() == ["ready", "ready"], 30)
        wait_until(lambda: scraper.ended("hello", "SUCCESS") == round_ * 20, 15)  # noqa: B023


def test_health_is_red_while_no_worker_can_consume(folder: Path, own_server: RedisServer) -> None:
    control = Control(folder / NAME)
    words = ["--workers", "1", "--metrics-port", "0", "--app", "jobs:app", "--redis", own_server.url, *control.words]
    with SupervisorProcess(folder, *words) as supervisor:
        scraper = Scraper(supervisor)
        supervisor.wait_ready(1)
        wait_until(scraper.is_well)
        assert scraper.page("/healthz") == (200, "1 of 1 workers can take tasks\n")

        own_server.stop()
        wait_until(lambda: not scraper.is_well(), 15)
        assert scraper.page("/healthz") == (503, "0 of 1 workers can take tasks\nworker 1 does not reach Redis\n")
        own_server.start()
        wait_until(scraper.is_well, 20)

        control.ask(do="quiet")
        assert scraper.page("/healthz") == (200, "1 of 1 workers can take tasks, and were told to be quiet\n")
        assert supervisor.stop() == 0


def test_other_requests_get_what_http_has_for_them(scraper: Scraper) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", scraper.port, timeout=10)
    answers = []
    with closing(connection):
        for method, path in (("GET", "/"), ("POST", "/metrics"), ("HEAD", "/healthz"), ("GET", "/healthz?x=1")):
            connection.request(method, path, body=b"x" * 100 if method == "POST" else None)
            response = connection.getresponse()
            answers.append((response.status, len(response.read()) > 0))
    assert answers == [(404, True), (405, True), (200, False), (200, True)]
    raw = [
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\x16\x03\x01\n\n", b"400"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 99_999, b"431"),
    ]
    for said, code in raw:
        with socket.create_connection(("127.0.0.1", scraper.port), timeout=10) as client:
            client.sendall(said)
            assert client.recv(100).startswith(b"HTTP/1.1 " + code)
    status, text = scraper.page(Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    assert any(family.name == "pytask_tasks_claimed" for family in parse_openmetrics(text))


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:1", 200), ("[::1]:9", 200), ("10.1.2.3", 200), ("a.localhost", 200), ("rebound.example:9100", 421)],
)
def test_at_a_local_address_a_page_of_a_foreign_name_reads_nothing(scraper: Scraper, host: str, status: int) -> None:
    assert scraper.page("/metrics", Host=host)[0] == status


def test_hostile_clients_hold_neither_the_port_nor_the_workers_up(scraper: Scraper, helpers: PyTaskHelpers) -> None:
    with ExitStack() as stack:
        for said in [b"", b"GET /metrics HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"] * 40:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", scraper.port), timeout=10))
            client.sendall(said)
        assert scraper.is_well()
        helpers.start_tasks([("hello", {})] * 5)
        wait_until(lambda: scraper.ended("hello", "SUCCESS") == 5, 15)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_that_is_taken_is_one_sentence_and_exit_code_2(start: Start, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with start("--workers", "1", "--metrics-port", port, "--metrics-host", host) as supervisor:
            supervisor.expected = ["cannot listen"]
            assert supervisor.wait() == 2
            sentence = f"cannot listen for metrics at {host} port {port}: Address already in use"
            assert supervisor.text.splitlines()[-1].partition(" ERROR [master] ")[2].startswith(sentence)


def test_a_host_that_is_not_ours_is_one_sentence_and_exit_code_2(start: Start) -> None:
    with start("--workers", "1", "--metrics-port", "0", "--metrics-host", "192.0.2.1") as supervisor:
        supervisor.expected = ["cannot listen"]
        assert supervisor.wait() == 2
        assert " ERROR [master] cannot listen for metrics at 192.0.2.1 port 0: " in supervisor.text


def test_without_the_extra_it_is_one_sentence_and_exit_code_2(start: Start, folder: Path) -> None:
    name = "prometheus_client"
    (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('no module', name='{name}')")
    with start("--workers", "1", "--metrics-port", "0") as supervisor:
        supervisor.expected = ["--metrics-port needs"]
        assert supervisor.wait() == 2
        assert supervisor.text.splitlines()[-1].partition(" ERROR [master] ")[2] == (
            "--metrics-port needs prometheus-client: pip install pytask-supervisor[metrics]"
        )


def test_only_a_master_with_a_metrics_port_pays_for_it(scraper: Scraper, start: Start) -> None:
    memory = psutil.Process(scraper.supervisor.pid).memory_info().rss
    assert memory <= 40 * 2**20
