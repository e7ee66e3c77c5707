"""Tasks whose names no worker knows: they wait, parked, and run once a worker knows them."""

from __future__ import annotations

import logging

import pytest

from pytask_core import Cleanup, Monitor
from pytask_core.worker.claiming.parking import Parking
from tests.support.core_apps import Echo, Forever, Sleep
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


def test_a_task_that_no_worker_knows_waits_and_runs_when_one_registers(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.worker(Sleep)
    ids = live.helpers.start_tasks(("echo", {"number": number}) for number in range(50))
    live.until(live.run("sleep", seconds=0), "SUCCESS")
    wait_until(lambda: live.helpers.parked_tasks() == {"echo": 50})
    assert live.where.count == {**dict.fromkeys(ids, 1), **dict.fromkeys(live.where.end, 1)}

    live.worker(Echo)

    for task_id in ids:
        live.until(task_id, "SUCCESS")
    assert live.helpers.parked_tasks() == {}
    wait_until(lambda: caplog.text.count("Tasks named 'echo', which no worker knew, run now") == 1)
    assert caplog.text.count("No worker knows tasks named 'echo': they wait, parked") == 1


def test_a_service_that_restarts_beside_another_one_loses_nothing(live: Live) -> None:
    """Two apps on one Redis; the other one claims what the first puts back."""
    Forever.forget()
    live.worker(Sleep)
    first = live.worker(Forever)
    ids = live.helpers.start_tasks(("forever", {}) for _ in range(3))
    wait_until(lambda: all(Forever.running.get(each) == 1 for each in ids))

    live.end(first)
    wait_until(lambda: live.helpers.parked_tasks() == {"forever": 3})
    live.worker(Forever)

    wait_until(lambda: all(Forever.running.get(each) == 1 for each in ids))
    assert live.where.count == dict.fromkeys(ids, 1)


def test_a_worker_that_redis_had_forgotten_opens_again(live: Live) -> None:
    stranger = live.worker(Sleep)
    knowing = live.worker(Echo, task_timeout=2)
    # As if it had been frozen: handed back, and not known any more.
    stranger.means.keeper.hand_back(knowing.id)
    task_id = live.helpers.start_task("echo")
    live.until(task_id, "SUCCESS")


def test_a_worker_whose_note_of_its_names_got_lost_looks_again_by_itself(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a foreign DEL, or a failover between its beat and its names."""
    monkeypatch.setattr(Parking.__init__, "__defaults__", (0.2,))
    live.worker(Sleep)
    knowing = live.worker(Echo)
    live.redis.delete(live.keys.names(knowing.id))

    for task_id in live.helpers.start_tasks([("echo", {})] * 20):
        live.until(task_id, "SUCCESS")
    wait_until(lambda: live.redis.smembers(live.keys.names(knowing.id)) == {"echo"})


def test_parked_tasks_can_be_listed_stopped_restarted_removed_and_started_on_other_data(live: Live) -> None:
    live.worker(Sleep)
    for task_id in ("a", "b", "c", "d"):
        live.helpers.start_task("echo", task_id, number=1)
    wait_until(lambda: live.helpers.parked_tasks() == {"echo": 4})
    assert (
        sorted(live.helpers.get_parked_task_ids()) == sorted(live.helpers.get_parked_task_ids("echo")) == list("abcd")
    )
    assert live.helpers.get_parked_task_ids("sleep") == []
    assert live.helpers.queue_lengths() == {"new": 0, "active": 0, "end": 0, "parked": 4}

    assert live.helpers.stop_task("a")
    assert live.helpers.stop_task("b")
    assert live.helpers.restart_task("b")
    assert live.helpers.remove_task("c")
    live.helpers.start_task("echo", "d", number=2)
    live.worker(Echo)

    assert live.until("b", "SUCCESS") == live.until("d", "SUCCESS")
    assert live.output("d") == '{"number": 2}'
    assert (live.state("a"), live.state("c")) == ("STOPPED", None)


def test_a_monitor_ends_what_no_worker_has_known_for_too_long(live: Live) -> None:
    app = live.app(Monitor, Cleanup, Sleep, unknown_timeout=0.2)
    app.start_local_task("pytask/monitor", loop_interval=0.1)
    live.begin(app)
    listener = live.listen("a")

    live.helpers.start_task("echo", "a")

    [event] = listener.until("exception")
    assert "no worker has known a task named 'echo' for 0.2 s" in event["data"]
    assert "MissingTaskError" in live.output("a")
    assert live.where.end == ["a"]
    assert live.helpers.parked_tasks() == {}


def test_a_reload_that_names_a_class_of_another_worker_gives_the_task_to_that(live: Live) -> None:
    Forever.forget()
    live.worker(Forever)
    task_id = live.helpers.start_task("forever")
    wait_until(lambda: Forever.running.get(task_id) == 1)
    live.helpers.set_task(task_id, "task", "echo")

    live.helpers.reload_task(task_id)
    wait_until(lambda: live.helpers.parked_tasks() == {"echo": 1})
    live.worker(Echo)

    live.until(task_id, "SUCCESS")


def test_tasks_of_an_unknown_name_do_not_hold_up_others(live: Live) -> None:
    live.worker(Sleep, concurrency=2)
    live.helpers.start_tasks(("echo", {}) for _ in range(200))

    live.run("sleep", seconds=0)

    wait_until(lambda: live.helpers.parked_tasks() == {"echo": 200})


def test_a_wrong_type_where_ids_are_parked_ends_no_task_and_holds_up_none(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.errors_expected = True
    live.redis.set(live.keys.parked, "oops")
    live.worker(Sleep)
    live.push("a", "echo")
    live.push("b", "sleep", '{"seconds": 0}')
    live.until("b", "SUCCESS")
    wait_until(lambda: "Redis does not take tasks of other names" in caplog.text)
    live.redis.delete(live.keys.parked)
    wait_until(lambda: live.helpers.parked_tasks() == {"echo": 1})
    live.worker(Echo)
    live.until("a", "SUCCESS")


def test_names_without_end_do_not_fill_the_log(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    live.worker(Sleep)
    live.helpers.start_tasks((f"junk-{number}", {}) for number in range(150))
    wait_until(lambda: len(live.helpers.get_parked_task_ids()) == 150)
    wait_until(lambda: "More than 100 names of tasks were not known here" in caplog.text)
    told = [each for each in caplog.records if each.name == "pytask.parking" and each.levelno >= logging.WARNING]
    assert len(told) == 101
    assert len(live.helpers.parked_tasks()) == 150
