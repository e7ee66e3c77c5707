"""stop, restart, reload, remove on live workers, by helpers and by other programs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from pytask_core import Task
from pytask_core.connection.nodes import is_cluster
from tests.support.core_apps import Echo, Forever, Sleep
from tests.support.waiting import wait_until
from tests.worker.conftest import Live

#: A second between renewals is the least that a test waits for one, and far from what a nudge takes.
RENEWALS: dict[str, Any] = {"update_task_interval": 0.2, "task_timeout": 20}


@pytest.fixture(autouse=True)
def _forget() -> None:
    Forever.forget()


class Rude(Task):
    """Takes its time to stop."""

    NAME = "rude"

    def start(self) -> None:
        gevent.sleep(60)

    def stop(self) -> None:
        gevent.sleep(0.3)


def forever(live: Live, **data: Any) -> str:
    """A for-ever task that runs."""
    task_id = live.helpers.start_task("forever", **data)
    wait_until(lambda: Forever.running.get(task_id) == 1)
    return task_id


def test_another_program_stops_a_task_by_publishing_stop(live: Live) -> None:
    live.worker(Forever)
    task_id = forever(live)
    # What PUBLISH answers counts, on a cluster, the listeners of one node.
    wait_until(lambda: any(row["psub"] == "1" for row in live.server.other_clients()))

    live.redis.publish(live.keys.control(task_id), "stop")

    live.until(task_id, "STOPPED")
    assert (Forever.running[task_id], Forever.stopped) == (0, [task_id])
    assert live.helpers.get_active_task_ids() == [task_id]


def test_another_program_starts_a_task_by_two_commands_and_again_by_a_push(live: Live) -> None:
    live.worker(Echo)
    live.push("ID", "echo", '{"text": "hi"}')
    live.until("ID", "SUCCESS")
    assert live.output("ID") == '{"text": "hi"}'

    live.redis.hset(live.keys.task("ID"), "data", '{"text": "ho"}')
    live.redis.lpush(live.keys.new_queue, "ID")
    wait_until(lambda: live.output("ID") == '{"text": "ho"}')


def test_a_task_that_waits_and_is_stopped_never_starts(live: Live) -> None:
    task_id = live.helpers.start_task("forever")
    assert live.helpers.stop_task(task_id)

    live.worker(Forever, Echo)
    live.run("echo")

    assert live.state(task_id) == "STOPPED"
    assert Forever.started == {}
    assert not live.helpers.stop_task(task_id)


def test_a_stopped_task_starts_again_by_restart(live: Live) -> None:
    live.worker(Forever)
    task_id = forever(live)
    assert live.helpers.stop_task(task_id, wait=10)

    assert live.helpers.restart_task(task_id)

    wait_until(lambda: Forever.running[task_id] == 1)
    assert len(Forever.started[task_id]) == 2


def test_a_restart_of_a_running_task_stops_it_and_runs_it_again_once(live: Live) -> None:
    live.worker(Forever)
    task_id = forever(live)
    live.helpers.set_task(task_id, "data", '{"value": 2}')

    assert live.helpers.restart_task(task_id)

    wait_until(lambda: Forever.started[task_id] == [None, 2])
    assert (Forever.running[task_id], Forever.stopped) == (1, [task_id])
    assert live.where.count == {task_id: 1}


def test_a_reload_runs_the_new_data_in_the_same_worker(live: Live) -> None:
    app = live.app(Forever)
    live.begin(app)
    live.begin(app)
    task_id = forever(live, value=1)
    owner = str(live.redis.hget(live.keys.task(task_id), "owner")).rpartition(":")[0]
    live.helpers.set_task(task_id, "data", '{"value": 2}')

    assert live.helpers.reload_task(task_id, wait=10)

    wait_until(lambda: Forever.started[task_id] == [1, 2])
    assert (Forever.running[task_id], Forever.stopped) == (1, [task_id])
    assert str(live.redis.hget(live.keys.task(task_id), "owner")).rpartition(":")[0] == owner
    assert live.state(task_id) == "RUNNING"


def test_a_reload_with_data_that_does_not_fit_is_an_exception(live: Live) -> None:
    live.worker(Forever)
    task_id = forever(live)
    live.helpers.set_task(task_id, "data", '{"nothing": 2}')

    live.helpers.reload_task(task_id)

    live.until(task_id, "EXCEPTION")
    assert "nothing" in live.output(task_id)


@pytest.mark.parametrize("command", ["stop", "restart", "reload"])
def test_a_command_whose_message_was_missed_is_found_by_the_next_renewal(live: Live, command: str) -> None:
    live.worker(Forever, **RENEWALS)
    task_id = forever(live)

    # As the helpers record it, without their message.
    live.redis.hset(live.keys.task(task_id), "command", command)

    if command == "stop":
        live.until(task_id, "STOPPED")
    else:
        wait_until(lambda: len(Forever.started[task_id]) == 2 and Forever.running[task_id] == 1)
    assert live.redis.hget(live.keys.task(task_id), "command") is None


def test_commands_reach_a_worker_whose_subscription_was_cut(live: Live) -> None:
    live.worker(Forever, **RENEWALS)
    task_id = forever(live)

    live.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    live.helpers.stop_task(task_id)

    live.until(task_id, "STOPPED")


def test_a_removed_task_is_stopped_and_nothing_is_written_for_it(live: Live) -> None:
    live.worker(Forever)
    task_id = forever(live)

    assert live.helpers.remove_task(task_id)

    wait_until(lambda: Forever.running[task_id] == 0)
    live.helpers.start_task("forever", task_id="next")
    wait_until(lambda: Forever.running.get("next") == 1)
    assert live.redis.exists(live.keys.task(task_id)) == 0
    assert live.where.count == {"next": 1}


@pytest.mark.parametrize("how", ["owner", "removed", "swept"])
def test_a_task_that_was_taken_away_is_stopped_by_a_renewal_and_writes_nothing(live: Live, how: str) -> None:
    live.worker(Forever, **RENEWALS)
    task_id = forever(live)
    if how == "owner":
        live.redis.hset(live.keys.task(task_id), "owner", "another:1")
    elif how == "removed":
        live.redis.delete(live.keys.task(task_id))
    else:
        live.redis.hset(live.keys.task(task_id), "state", "WAIT")
    before = live.redis.hgetall(live.keys.task(task_id))

    wait_until(lambda: Forever.running[task_id] == 0)

    assert live.redis.hgetall(live.keys.task(task_id)) == before


def test_a_worker_that_claims_a_task_again_which_it_lost_unseen_runs_one_copy(live: Live) -> None:
    # So late is the next renewal that the worker cannot have learned of its loss.
    worker = live.worker(Forever)
    task_id = forever(live)

    worker.means.keeper.hand_back(worker.id)

    wait_until(lambda: len(Forever.started[task_id]) == 2)
    wait_until(lambda: Forever.running[task_id] == 1)
    assert live.helpers.stop_task(task_id)
    live.until(task_id, "STOPPED")
    assert Forever.running[task_id] == 0


def test_unknown_words_and_the_events_of_an_id_that_ends_in_control_are_no_commands(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    class Talker(Task):
        NAME = "talker"

        def start(self) -> None:
            for word in ("stop", "reload", "x"):
                self.emit(word)

    live.worker(Forever, Talker)
    live.helpers.start_task("forever", task_id="x")
    wait_until(lambda: Forever.running.get("x") == 1)

    live.helpers.start_task("talker", task_id="x-control")
    live.until("x-control", "SUCCESS")
    live.redis.publish(live.keys.control("x"), "dance")
    live.redis.publish(live.keys.control("x"), b"\xff\xfe")
    live.redis.publish(live.keys.control("x"), "stop")

    live.until("x", "STOPPED")
    assert len(Forever.started["x"]) == 1
    said = [record for record in caplog.records if record.name == "pytask.control" and record.levelno > logging.INFO]
    assert said == []


def test_starting_again_at_once_what_was_stopped_runs_it_anew(live: Live) -> None:
    live.worker(Forever)
    task_id = forever(live, value=1)

    live.helpers.stop_task(task_id)
    live.helpers.start_task("forever", task_id=task_id, value=2)

    wait_until(lambda: Forever.started[task_id] == [1, 2])
    wait_until(lambda: Forever.running[task_id] == 1)


def test_a_name_that_only_the_other_worker_knows_runs_there(live: Live) -> None:
    live.worker(Forever)
    live.worker(Echo)
    ids = live.helpers.start_tasks(("echo", {"number": number}) for number in range(20))

    for task_id in ids:
        live.until(task_id, "SUCCESS")
    assert live.where.count == dict.fromkeys(ids, 1)


def test_a_command_during_a_reload_is_obeyed(live: Live) -> None:
    entered = []

    class Slow(Forever):
        NAME = "slow"

        def stop(self) -> None:
            entered.append(self.id)
            gevent.sleep(0.1)

    live.worker(Slow)
    task_id = live.helpers.start_task("slow")
    wait_until(lambda: Forever.running.get(task_id) == 1)

    live.helpers.reload_task(task_id)
    wait_until(lambda: entered)
    live.helpers.stop_task(task_id)

    live.until(task_id, "STOPPED")
    assert Forever.running[task_id] == 0


def test_a_stop_that_comes_late_does_not_hit_the_next_run_of_the_id(live: Live) -> None:
    live.worker(Forever)
    first, other = forever(live), forever(live)
    owner = live.helpers.get_task(first, "owner")
    live.helpers.restart_task(first)
    wait_until(lambda: live.helpers.get_task(first, ["state", "command"]) == ["RUNNING", None])
    wait_until(lambda: live.helpers.get_task(first, "owner") != owner)

    live.redis.publish(live.keys.control(first), f"stop {owner}")
    live.redis.publish(live.keys.control(other), "stop")  # on the same connection, so read after it
    live.until(other, "STOPPED")
    assert live.state(first) == "RUNNING"

    live.redis.publish(live.keys.control(first), f"reload {live.helpers.get_task(first, 'owner')}")
    assert live.helpers.stop_task(first)
    live.until(first, "STOPPED")


@contextmanager
def deaf(live: Live) -> Iterator[Any]:
    """Nobody may listen to channels; gives a client that may do all."""
    admin = live.server.client()
    if is_cluster(admin):
        pytest.skip("users are made on one server here")
    admin.execute_command("ACL", "SETUSER", "default", "-psubscribe")
    yield admin
    admin.execute_command("ACL", "SETUSER", "default", "+psubscribe")


def test_a_reload_that_is_waited_for_is_over_once_the_task_is(own_live: Live) -> None:
    """Nobody hears of it, and the task ends before the next renewal."""
    live = own_live
    with deaf(live):
        live.worker(Sleep)
        task_id = live.helpers.start_task("sleep", seconds=0.5)
        live.until(task_id, "RUNNING")

        began = time.monotonic()
        assert live.helpers.reload_task(task_id, wait=20) is False

        assert time.monotonic() - began < 10
        assert live.state(task_id) == "SUCCESS"


@pytest.mark.parametrize("wait", [0, -1, float("nan")])
def test_no_time_to_wait_is_no_wait(live: Live, wait: float) -> None:
    live.worker(Rude)
    task_id = live.helpers.start_task("rude")
    live.until(task_id, "RUNNING")

    assert live.helpers.stop_task(task_id, wait=wait) is False
    live.until(task_id, "STOPPED")


def test_channels_that_redis_does_not_let_us_hear_are_said_once_and_commands_come_with_renewals(
    own_live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live = own_live
    with deaf(live) as admin:
        live.worker(Forever, **RENEWALS)
        task_id = forever(live)
        before = admin.info("stats")["total_connections_received"]

        wait_until(lambda: any("channels cannot be read" in each for each in warnings_of(caplog)))
        assert live.helpers.stop_task(task_id, wait=5)

        assert admin.info("stats")["total_connections_received"] - before < 15, (
            "it does not knock in vain without a pause"
        )
        assert len([each for each in warnings_of(caplog) if "channels" in each]) == 1


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log warns of."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_word_that_is_recorded_as_a_command_and_is_none_does_nothing(live: Live) -> None:
    """A field of that name may be another program's."""
    live.worker(Forever, **RENEWALS)
    task_id = forever(live)
    live.redis.hset(live.keys.task(task_id), "command", "ls -la")
    for _ in range(2):
        before = live.redis.hget(live.keys.task(task_id), "last_update")
        wait_until(lambda before=before: live.redis.hget(live.keys.task(task_id), "last_update") != before)

    assert (Forever.running[task_id], len(Forever.started[task_id])) == (1, 1)
    assert live.helpers.stop_task(task_id, wait=5)


def test_a_running_task_that_is_removed_is_no_warning(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    Forever.forget()
    worker = live.worker(Forever)
    ids = live.helpers.start_tasks(("forever", {}) for _ in range(5))
    wait_until(lambda: worker.running == 5)
    for task_id in ids:
        assert live.helpers.remove_task(task_id)
    wait_until(lambda: worker.running == 0)
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []
