"""Monitor and Cleanup, run by workers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import gevent
import pytest

from pytask_core import Cleanup, Monitor, PyTask
from pytask_core.errors import InvalidTask
from tests.support.core_apps import Echo, Forever
from tests.support.waiting import wait_until
from tests.worker.conftest import Live

HERE = "tests.worker.claims.test_keepers"

handled: list[tuple[str, dict[str, Any]]] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    Forever.forget()
    handled.clear()


def handle(task_id: str, task: Mapping[str, Any]) -> None:
    """The handler that apps name."""
    handled.append((task_id, dict(task)))


def fail(task_id: str, task: Mapping[str, Any]) -> None:
    """A handler that raises for some."""
    if "bad" in task_id:
        raise ValueError("I do not want this one")
    handle(task_id, task)


def leave(task_id: str, task: Mapping[str, Any]) -> None:
    """A handler that tries to end the program for some."""
    if "bad" in task_id:
        raise SystemExit(1)
    handle(task_id, task)


def dwell(task_id: str, task: Mapping[str, Any]) -> None:
    """A handler that takes long."""
    handle(task_id, task)
    gevent.sleep(60)


def dawdle(task_id: str, task: Mapping[str, Any]) -> None:
    """A handler that lets others do something meanwhile."""
    handle(task_id, task)
    gevent.sleep(0.5)


def dead_worker(live: Live, *ids: str) -> None:
    """A worker that claimed these ids long ago and was not heard of since."""
    client = live.store_client()
    store = live.stores.worker(client, client, live.keys, "dead")
    store.register(["forever"])
    live.helpers.start_tasks(("forever", {}, each) for each in ids)
    assert len(store.claim("dead:1", 500, insist=True).tasks) == len(ids)
    live.redis.zadd(live.keys.workers, {"dead": 1})


def keeper_app(live: Live, *names: str, **data: Any) -> PyTask:
    """An app with these keepers as local tasks."""
    app = live.app(Monitor, Cleanup, Forever, Echo)
    for name in names:
        app.start_local_task(name, **data)
    return app


# Monitor


def test_a_dead_workers_tasks_run_again_once_whatever_the_number_of_monitors(live: Live) -> None:
    ids = [f"id-{number}" for number in range(50)]
    dead_worker(live, *ids)

    for _ in range(3):
        live.begin(keeper_app(live, "pytask/monitor", loop_interval=0.1))

    wait_until(lambda: all(Forever.running.get(each) == 1 for each in ids))
    assert all(len(Forever.started[each]) == 1 for each in ids)
    assert [count for each, count in live.where.count.items() if each in ids] == [1] * 50
    assert live.redis.exists(live.keys.held("dead"), live.keys.names("dead")) == 0


def test_what_is_handed_back_does_not_vanish_into_the_inbox_of_the_dead(live: Live) -> None:
    """The server learns of the end of a connection in its own time; until then its blocking take stands."""
    client = live.store_client()
    store = live.stores.worker(client, client, live.keys, "dead")
    store.register(["forever"])
    live.helpers.start_task("forever", task_id="a")
    store.claim("dead:1", 1)
    last = live.server.client(client_name="pytask-take-dead", decode_responses=True)
    words = ("BLMOVE", live.keys.new_queue, live.keys.inbox("dead"), "RIGHT", "LEFT", 30)
    take = gevent.spawn(last.execute_command, *words)
    wait_until(lambda: ("pytask-take-dead", "blmove") in {(row["name"], row["cmd"]) for row in clients(live)})
    # Its own take stands behind that of the dead.
    worker = live.worker(Forever)

    worker.hand_back("dead")

    wait_until(lambda: Forever.running.get("a") == 1)
    assert take.get(timeout=5) is None
    assert live.where.count == {"a": 1}


def clients(live: Live) -> list[dict[str, str]]:
    """The rows of CLIENT LIST."""
    return live.server.other_clients()


def test_a_monitor_finds_what_nobody_renews_and_drops_what_has_no_hash(live: Live) -> None:
    live.redis.hset(
        live.keys.task("old"), mapping={"task": "echo", "data": "{}", "state": "RUNNING", "last_update": "1000000000"}
    )
    live.redis.sadd(live.keys.task_set, "old", "missing")

    live.begin(keeper_app(live, "pytask/monitor", loop_interval=0.1))

    live.until("old", "SUCCESS")
    wait_until(lambda: "missing" not in live.where.active)


def test_a_monitor_started_through_redis_stops_when_it_is_told(live: Live) -> None:
    live.worker(Monitor)
    task_id = live.helpers.start_task("pytask/monitor", loop_interval=0.1, task_timeout=60)
    wait_until(lambda: live.redis.hget(live.keys.monitor, "round"))

    assert live.helpers.stop_task(task_id, wait=5)
    assert live.state(task_id) == "STOPPED"


@pytest.mark.parametrize("data", [{"loop_interval": 0}, {"task_timeout": "x"}, {"loop_interval": True}, {"other": 1}])
def test_a_monitor_with_options_that_make_no_sense_says_so(live: Live, data: dict[str, Any]) -> None:
    live.worker(Monitor)
    task_id = live.run("pytask/monitor", **data)

    assert live.state(task_id) == "EXCEPTION"
    assert next(iter(data)) in live.output(task_id)


def test_a_monitor_outlives_a_string_at_the_task_set(live: Live) -> None:
    live.errors_expected = True
    worker = live.begin(keeper_app(live, "pytask/monitor", loop_interval=0.1))
    wait_until(lambda: live.where.active)
    [monitor] = live.where.active
    active = live.redis.smembers(live.keys.task_set)
    live.redis.delete(live.keys.task_set)
    live.redis.set(live.keys.task_set, "oops")
    first = wait_until(lambda: live.redis.hget(live.keys.monitor, "round"))
    wait_until(lambda: float(live.redis.hget(live.keys.monitor, "round")) > float(first) + 250)

    live.redis.delete(live.keys.task_set)
    live.redis.sadd(live.keys.task_set, *active)
    live.redis.hset(
        live.keys.task("old"), mapping={"task": "echo", "data": "{}", "state": "RUNNING", "last_update": "1"}
    )
    live.redis.sadd(live.keys.task_set, "old")

    live.until("old", "SUCCESS")
    assert live.state(monitor) == "RUNNING"
    live.end(worker)


# Cleanup


def test_a_cleanup_forgets_what_has_ended(live: Live) -> None:
    live.begin(keeper_app(live, "pytask/cleanup"))

    task_id = live.helpers.start_task("echo")

    wait_until(lambda: live.redis.exists(live.keys.task(task_id)) == 0)
    wait_until(lambda: live.where.count.total() == 1)  # the Cleanup itself


def test_a_cleanup_calls_its_handler_with_each_task_before_it_is_gone(live: Live) -> None:
    live.begin(keeper_app(live, "pytask/cleanup", task_handler=f"{HERE}:handle"))

    ids = live.helpers.start_tasks(("echo", {"number": number}) for number in range(600))

    wait_until(lambda: len(handled) == 600)
    assert sorted(each for each, _ in handled) == sorted(ids)
    assert {task["state"] for _, task in handled} == {"SUCCESS"}
    assert handled[0][1]["task"] == "echo"
    wait_until(lambda: live.where.count.total() == 1)


def test_a_task_whose_handler_raises_stays_where_it_can_be_looked_at(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.errors_expected = True
    live.begin(keeper_app(live, "pytask/cleanup", task_handler=f"{HERE}:fail"))

    live.helpers.start_tasks([("echo", {}, "bad"), ("echo", {}, "good")])

    wait_until(lambda: [each for each, _ in handled] == ["good"])
    wait_until(lambda: "bad" in live.where.active)
    assert live.state("bad") == "SUCCESS"
    assert any("handler failed for task 'bad'" in record.getMessage() for record in caplog.records)


def test_a_handler_that_tries_to_leave_the_program_ends_nothing(live: Live) -> None:
    live.errors_expected = True
    live.begin(keeper_app(live, "pytask/cleanup", task_handler=f"{HERE}:leave"))

    live.helpers.start_tasks([("echo", {}, "bad"), ("echo", {}, "good")])
    wait_until(lambda: [each for each, _ in handled] == ["good"])
    live.helpers.start_task("echo", task_id="next")

    wait_until(lambda: [each for each, _ in handled] == ["good", "next"])


def test_a_cleanup_that_is_stopped_in_its_handler_leaves_the_task_for_the_next(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    worker = live.begin(keeper_app(live, "pytask/cleanup", task_handler=f"{HERE}:dwell"))
    live.helpers.start_task("echo", task_id="a")
    wait_until(lambda: handled)

    live.end(worker)

    assert live.where.count == {"a": 1}
    assert live.where.end == ["a"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", [f"{HERE}:handle", "os:system", "shutil:rmtree"])
def test_a_handler_that_the_app_does_not_name_is_not_called_for_a_cleanup_from_redis(live: Live, path: str) -> None:
    live.worker(Cleanup, Echo)
    task_id = live.run("pytask/cleanup", task_handler=path)

    assert live.state(task_id) == "EXCEPTION"
    assert "may not call" in live.output(task_id)


def test_a_handler_that_the_app_names_is_called_for_a_cleanup_from_redis(live: Live) -> None:
    live.worker(Cleanup, Echo, cleanup_handlers=[f"{HERE}:handle"])
    live.helpers.start_task("pytask/cleanup", task_handler=f"{HERE}:handle")
    task_id = live.helpers.start_task("echo")

    wait_until(lambda: [each for each, _ in handled] == [task_id])


@pytest.mark.parametrize("path", ["nowhere:x", f"{HERE}:nothing", "", "no-colon", f"{HERE}:HERE", ":x", "os:"])
def test_a_handler_that_cannot_be_had_is_a_sentence_that_says_so(live: Live, path: str) -> None:
    app = keeper_app(live, "pytask/cleanup", task_handler=path)

    with pytest.raises(PyTask.PyTaskException, match=r"'pytask/cleanup' cannot be made: .*the cleanup handler"):
        app.create_worker().run()


def test_a_restarted_task_in_the_end_queue_is_left_alone(live: Live) -> None:
    live.worker(Forever)
    live.redis.hset(live.keys.task("a"), mapping={"task": "forever", "data": "{}", "state": "ERROR"})
    live.redis.lpush(live.keys.end_queue, "a")
    live.helpers.restart_task("a")
    wait_until(lambda: Forever.running.get("a") == 1)

    live.begin(keeper_app(live, "pytask/cleanup", task_handler=f"{HERE}:handle"))

    wait_until(lambda: live.where.end == live.where.cleaning == [])
    assert live.state("a") == "RUNNING"


def test_a_cleanup_outlives_a_string_at_the_end_queue(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    live.errors_expected = True
    live.begin(keeper_app(live, "pytask/cleanup", task_handler=f"{HERE}:handle"))
    wait_until(lambda: live.where.active)
    [cleanup] = live.where.active
    live.redis.set(live.keys.end_queue, "oops")
    wait_until(lambda: any("WRONGTYPE" in record.getMessage() for record in caplog.records))
    assert live.state(cleanup) == "RUNNING"
    task_id = live.helpers.start_task("echo")

    live.redis.delete(live.keys.end_queue)

    wait_until(lambda: [each for each, _ in handled] == [task_id])


def test_retention_keeps_the_result_for_a_while(live: Live) -> None:
    live.begin(keeper_app(live, "pytask/cleanup", retention=100))
    task_id = live.helpers.start_task("echo", text="hi")

    wait_until(lambda: live.redis.ttl(live.keys.task(task_id)) > 0)
    assert live.output(task_id) == '{"text": "hi"}'


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), 1e300, True, "long"])
def test_a_retention_that_makes_no_sense_is_said(live: Live, seconds: Any) -> None:
    app = keeper_app(live)
    if seconds in {-1, 1e300, True, "long"}:
        live.begin(live.app(Cleanup))
        task_id = live.run("pytask/cleanup", retention=seconds)
        assert "retention must be a number of seconds" in live.output(task_id)
    else:
        with pytest.raises(InvalidTask):
            app.start_local_task("pytask/cleanup", retention=seconds)


def test_a_part_of_a_second_is_a_retention_too(live: Live) -> None:
    live.begin(keeper_app(live, "pytask/cleanup", retention=0.2))
    task_id = live.helpers.start_task("echo", text="hi")

    wait_until(lambda: live.redis.pttl(live.keys.task(task_id)) > 0)
    wait_until(lambda: not live.redis.exists(live.keys.task(task_id)))


def test_a_cleanup_that_is_stopped_leaves_what_it_has_collected_to_others_while_its_worker_lives_on(live: Live) -> None:
    live.begin(live.app(Cleanup, Echo, cleanup_handlers=[f"{HERE}:dwell"]))
    live.helpers.start_tasks(("echo", {}, each) for each in ("a", "b", "c"))
    wait_until(lambda: len(live.where.end) == 3)
    first = live.helpers.start_task("pytask/cleanup", task_handler=f"{HERE}:dwell")
    wait_until(lambda: handled)

    assert live.helpers.stop_task(first, wait=5)
    live.begin(keeper_app(live, "pytask/cleanup", task_handler=f"{HERE}:handle"))

    wait_until(lambda: {each for each, _ in handled[1:]} == {"a", "b", "c"})


def test_a_task_that_ends_once_more_while_its_first_end_is_handled_is_handled_once_more(live: Live) -> None:
    live.begin(keeper_app(live, "pytask/cleanup", task_handler=f"{HERE}:dawdle"))
    live.helpers.start_task("echo", "a", number=1)
    wait_until(lambda: handled)

    live.helpers.start_task("echo", "a", number=2)

    wait_until(lambda: [task["output"] for _, task in handled] == ['{"number": 1}', '{"number": 2}'])
    wait_until(lambda: not live.redis.exists(live.keys.task("a")))


def test_a_monitor_mends_what_it_notes_and_says_so(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    live.redis.hset(live.keys.monitor, mapping={"round": "abc", "cursor": "abc"})
    app = live.app(Monitor)
    app.start_local_task("pytask/monitor", loop_interval=0.1)
    live.begin(app)
    wait_until(lambda: str(live.redis.hget(live.keys.monitor, "round") or "x").isdecimal())
    wait_until(lambda: live.redis.hget(live.keys.monitor, "cursor") == "0")
    said = [each.getMessage() for each in caplog.records if each.name == "pytask.monitor"]
    assert said == ["What the Monitors note of ['round', 'cursor'] was no number; it is removed, and they go on"]


class OwnRounds(Monitor):
    """Counts its rounds, and has them."""

    NAME = "own-rounds"
    rounds: ClassVar[list[int]] = []

    def check_tasks(self) -> None:
        self.rounds.append(1)
        super().check_tasks()


def test_a_monitor_with_a_round_of_its_own_has_that_one(live: Live) -> None:
    dead_worker(live, "orphan")
    app = live.app(OwnRounds, Forever)
    app.start_local_task("own-rounds", loop_interval=0.1)
    live.begin(app)
    wait_until(lambda: Forever.running.get("orphan") == 1)
    assert OwnRounds.rounds
