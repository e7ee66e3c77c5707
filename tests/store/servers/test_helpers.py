"""PyTaskHelpers: every method of the documentation, and every way to say where Redis is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import redis

from pytask_core import InvalidTask, PyTask, PyTaskException, PyTaskHelpers, Task
from pytask_core.keys import RedisKeys
from tests.store.conftest import Desk
from tests.support.servers.redis_server import RedisServer, client_options


@pytest.fixture
def helpers(redis_server: RedisServer, names: dict[str, str]) -> Iterator[PyTaskHelpers]:
    made = PyTaskHelpers(redis_server.url, **names)
    yield made
    made.close()


@pytest.fixture(scope="module")
def tcp_server() -> Iterator[RedisServer]:
    with RedisServer(tcp=True) as server:
        yield server


WAYS: dict[str, Callable[[RedisServer], Any]] = {
    "client": lambda server: server.client(),
    "client that answers text": lambda server: server.client(decode_responses=True),
    "dict": lambda server: {"host": "127.0.0.1", "port": server.port},
    "list of a tuple": lambda server: [("127.0.0.1", server.port)],
    "list of a dict": lambda server: [{"host": "127.0.0.1", "port": server.port}],
    "url": lambda server: server.url,
    "environment": lambda _server: None,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_name_the_server_works(tcp_server: RedisServer, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("PYTASK_REDIS_URL", tcp_server.url)
    helpers = PyTaskHelpers(WAYS[way](tcp_server))

    task_id = helpers.start_task("job", text="é")

    assert helpers.get_task(task_id, ["task", "data", "state"]) == ["job", '{"text": "\\u00e9"}', "WAIT"]
    assert helpers.get_new_task_ids()[0] == task_id
    helpers.remove_task(task_id)
    helpers.close()
    tcp_server.close_clients()


@pytest.mark.parametrize("instance", [7, [], "http://localhost", "redis://localhost:port", object()])
def test_what_names_no_server_is_refused_with_a_sentence(instance: Any) -> None:
    with pytest.raises((PyTaskException, ValueError)):
        PyTask(instance)


def test_starting_returns_the_id_given_or_a_new_one(helpers: PyTaskHelpers) -> None:
    assert helpers.start_task("job", task_id="mine") == "mine"
    assert helpers.start_task("job", task_id="mine") == "mine"
    assert len({helpers.start_task("job") for _ in range(10)}) == 10
    assert helpers.get_new_task_ids().count("mine") == 1


def test_bulk_start_returns_the_ids_in_order(helpers: PyTaskHelpers) -> None:
    ids = helpers.start_tasks([("job", {"n": 1}, "a"), ("job", {"n": 2}), ("job", {}, "c")])

    assert (ids[0], ids[2], len(ids)) == ("a", "c", 3)
    assert helpers.get_new_task_ids() == ids[::-1]
    assert helpers.get_tasks(["a", "c", "nothing"], ["data", "state"]) == [
        ['{"n": 1}', "WAIT"],
        ["{}", "WAIT"],
        [None, None],
    ]


def test_commands_tell_whether_there_was_anything_to_do(helpers: PyTaskHelpers) -> None:
    helpers.start_task("job", task_id="a")

    assert helpers.reload_task("a") is False, "it does not run"
    assert helpers.restart_task("a") is True
    assert helpers.restart_if_state("a", "ERROR") is False
    assert helpers.restart_if_state("a", ["WAIT", "ERROR"]) is True
    assert helpers.restart_if_state("a", []) is False
    assert helpers.stop_task("a") is True
    assert helpers.stop_task("a") is False
    assert helpers.get_active_task_ids() == ["a"]
    assert helpers.remove_task("a") is True
    assert helpers.remove_task("a") is False
    for command in (helpers.stop_task, helpers.reload_task, helpers.restart_task):
        assert command("nothing") is False


def test_a_task_is_read_whole_or_by_field(helpers: PyTaskHelpers) -> None:
    helpers.start_task("job", task_id="a", n=1)

    assert helpers.get_task("a", "task") == "job"
    assert helpers.get_task("a", ["task", "nothing"]) == ["job", None]
    assert helpers.get_task("a", "nothing") is None
    assert helpers.get_task("nothing") == {}


def test_fields_are_written_as_they_are(helpers: PyTaskHelpers) -> None:
    assert helpers.set_task("a", {"task": "job", "x": 0}) is True, "what names a task makes one, as in the original"
    assert helpers.set_task("a", "data", '{"n": 2}') is True
    assert helpers.set_task("a", {"x": 1, "y": "z"}) is True

    assert helpers.get_task("a") == {"task": "job", "data": '{"n": 2}', "x": "1", "y": "z"}
    with pytest.raises(InvalidTask, match="'x'"):
        helpers.set_task("a", {"x": None})
    assert helpers.set_task("a", {}) is False


def test_writing_to_a_task_that_is_gone_leaves_no_hash_behind(desk: Desk, helpers: PyTaskHelpers) -> None:
    helpers.start_task("job", task_id="a")
    helpers.remove_task("a")

    assert helpers.set_task("a", "progress", 7) is False
    assert helpers.set_task("a", {"state": "WAIT", "data": "{}"}) is False

    assert desk.redis.exists(desk.keys.task("a")) == 0


def test_helpers_with_other_names_see_another_system(
    redis_server: RedisServer, helpers: PyTaskHelpers, names: dict[str, str]
) -> None:
    others = {option: f"b-{name}" for option, name in (names or vars(RedisKeys())).items()}
    other = PyTaskHelpers(redis_server.url, **others)
    other.start_task("job", task_id="a")

    assert helpers.get_new_task_ids() == []
    assert helpers.get_task("a") == {}
    assert other.queue_lengths() == {"new": 1, "active": 0, "end": 0}
    other.close()


def test_a_hundred_threads_share_one_instance(helpers: PyTaskHelpers) -> None:
    threads = [Thread(target=helpers.start_task, args=("job", f"id-{number}")) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(helpers.get_new_task_ids()) == sorted(f"id-{number}" for number in range(100))


def test_a_server_that_forgot_the_scripts_is_taught_again(desk: Desk) -> None:
    desk.start("a")
    desk.redis.script_flush()
    desk.start("b")

    assert desk.new == ["a", "b"]


def test_a_command_that_was_not_answered_is_raised_and_not_sent_twice(redis_server: RedisServer) -> None:
    client = redis.Redis(unix_socket_path="/nowhere/at/all", **client_options())
    helpers = PyTaskHelpers(client)

    with pytest.raises(redis.ConnectionError):
        helpers.start_task("job")


def test_an_app_lends_its_helpers_and_its_exceptions(redis_server: RedisServer, names: dict[str, str]) -> None:
    class Job(Task):
        NAME = "job"

        def start(self) -> None:
            """Nothing to do."""

    app = PyTask(redis_server.url, **names)
    app.add_tasks(Job)

    assert app.task_classes == {"job": Job}
    assert isinstance(app.helpers, PyTaskHelpers)
    assert issubclass(PyTask.StopTask, PyTask.PyTaskException)
    assert issubclass(PyTask.MissingTaskError, PyTask.PyTaskException)
    with pytest.raises(PyTaskException, match="gevent has not patched"):
        app.run()
    app.helpers.close()


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (
            lambda h: h.start_task("mail", "an-id", {"to": "ada"}),
            r"cleanup of.*is a dict.*start_task\('mail', …, \*\*data\)",
        ),
        (lambda h: h.start_task("mail", {"to": "ada"}), r"task_id of.*is a dict.*start_task\('mail', …, \*\*data\)"),
        (lambda h: h.start_task("etl", cleanup="archive", n=1), r"start_tasks\(\[\('etl', \{'cleanup': …\}\)\]\)"),
        (lambda h: h.start_task("etl", cleanup=None), "must be True or False, not None"),
        (lambda h: h.start_task("etl", cleanup=0), "must be True or False, not 0"),
        (lambda h: h.start_tasks([("etl", {})], cleanup="no"), "cleanup must be True or False, for all tasks alike"),
        (lambda h: h.start_tasks([("etl", "an-id", {"n": 1})]), "the data of 'etl' must be a dict.*not str"),
        (lambda h: h.start_tasks({"etl": {"n": 1}}), r"a task to start is \(task_name, data\)"),
        (lambda h: h.start_task("etl", task_id=["a"]), "a task id must be a text"),
    ],
)
def test_data_in_a_wrong_place_is_refused_with_a_sentence_and_starts_nothing(
    desk: Desk, helpers: PyTaskHelpers, start: Callable[[PyTaskHelpers], object], words: str
) -> None:
    with pytest.raises(InvalidTask, match=words):
        start(helpers)
    assert desk.new == []


def test_data_may_have_the_names_of_arguments_in_start_tasks(helpers: PyTaskHelpers) -> None:
    data = {"cleanup": "archive", "task_id": 7, "task_name": "x"}
    [task_id] = helpers.start_tasks([("etl", data)])
    assert json.loads(helpers.get_task(task_id, "data")) == data


def test_an_id_may_be_a_uuid_or_a_number_and_is_a_text_from_then_on(helpers: PyTaskHelpers) -> None:
    task_id = uuid4()
    assert helpers.start_task("job", task_id=task_id) == str(task_id)
    assert helpers.start_tasks([("job", {}, uuid4()), ("job", {}, 7)])[1] == "7"
    assert helpers.get_task(task_id, "task") == "job"
    assert helpers.stop_task(task_id)
    assert helpers.remove_task(task_id)
