"""What an operator can ask of a running supervisor, and the replacing of workers one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.config.settings import ConfigError
from pytask_supervisor.master.commands import OrderError
from pytask_supervisor.master.death_log import Death, DeathLog, Kind
from pytask_supervisor.master.rolling import SLOW
from pytask_supervisor.master.worker_handle import AT_ONCE, Stage
from tests.support.master_world import Bridge


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    made = Bridge()
    yield made
    made.close()


def test_scaling_fills_or_empties_the_highest_numbers(bridge: Bridge) -> None:
    bridge.staff(2)
    assert bridge.commands.scale(4) == "4 workers now, 2 before"
    bridge.turn()
    bridge.get_ready()
    assert bridge.numbers() == [1, 2, 3, 4]
    bridge.commands.scale(1)
    assert [slot.stage for slot in bridge.commands.slot_reports] == ["ready", "stopping", "stopping", "stopping"]
    assert bridge.pool.size == 1


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_senseless_number_of_workers_is_refused(bridge: Bridge, count: int) -> None:
    bridge.staff(1)
    with pytest.raises(OrderError, match="there can be 1 to 1000 workers"):
        bridge.commands.scale(count)


def test_a_slot_is_stopped_for_good_but_never_the_last(bridge: Bridge) -> None:
    first, _ = bridge.staff(2)
    assert bridge.commands.stop_slot(1) == "worker 1 stops; 1 worker now"
    bridge.leave(first)
    bridge.turn()
    assert bridge.numbers() == [2]
    assert bridge.commands.deaths[-1].cause == "was asked to stop (stop)"
    with pytest.raises(OrderError, match="worker 2 is the last one"):
        bridge.commands.stop_slot(2)
    with pytest.raises(OrderError, match="there is no worker 1; there are: 2"):
        bridge.commands.stop_slot(1)


def test_quiet_is_told_to_all_and_to_those_to_come(bridge: Bridge) -> None:
    first, second = bridge.staff(2)
    bridge.commands.quiet(True)
    told = [bridge.far_ends[worker.pid].receive() for worker in (first, second)]
    assert told == [[{"quiet": True}]] * 2
    assert bridge.state.is_quiet
    bridge.commands.quiet(False)
    assert bridge.far_ends[first.pid].receive() == [{"quiet": False}]
    assert not bridge.commands.is_quiet


def test_nothing_is_steered_while_stopping(bridge: Bridge) -> None:
    bridge.staff(1)
    bridge.state.is_stopping = True
    for order in (bridge.commands.restart, lambda: bridge.commands.scale(2), lambda: bridge.commands.quiet(True)):
        with pytest.raises(OrderError, match="not now"):
            order()


def test_a_restart_replaces_one_worker_after_another_each_by_one_that_is_ready(bridge: Bridge) -> None:
    old = bridge.staff(3)
    bridge.commands.restart()
    for number, worker in enumerate(old, start=1):
        bridge.turn()
        # One more at most, and all of the old ones at work until the new one is.
        assert len(bridge.pool.workers) == 4
        assert len(bridge.pool.ready) == 3
        bridge.get_ready()
        bridge.turn()
        assert worker.stage is Stage.STOPPING
        assert len(bridge.pool.ready) == 3
        assert len(bridge.pool.workers) == 4
        bridge.leave(worker)
        assert [death.slot for death in bridge.commands.deaths] == list(range(1, number + 1))
    bridge.turn()
    assert not bridge.rolling
    assert not set(old) & set(bridge.pool.workers)
    assert {death.kind for death in bridge.commands.deaths} == {Kind.RELOADED}
    assert [slot.restarts for slot in bridge.commands.slot_reports] == [1, 1, 1]


def test_a_restart_whose_first_successor_dies_is_given_up(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    old = bridge.staff(2)
    bridge.commands.restart()
    bridge.turn()
    (successor,) = set(bridge.pool.workers) - set(old)
    successor.hear({"failed": "there is no module x"})
    assert bridge.die(successor, 3 << 8) is None
    bridge.turn()
    assert bridge.pool.workers == old
    assert not bridge.rolling
    expected = "restart is given up: the new worker 1 could not load the app (exit code 3): there is no module x"
    assert expected in caplog.text


def test_a_worker_that_dies_while_its_successor_starts_is_followed_by_that(bridge: Bridge) -> None:
    (old,) = bridge.staff(1)
    bridge.commands.restart()
    bridge.turn()
    bridge.die(old)
    bridge.turn()
    (new,) = bridge.pool.workers
    assert new.pid != old.pid
    bridge.get_ready()
    bridge.turn()
    assert not bridge.rolling
    assert bridge.pool.workers == [new]


def test_a_second_restart_begins_anew_with_those_that_were_replaced_already(bridge: Bridge) -> None:
    old = bridge.staff(2)
    bridge.commands.restart()
    for _ in range(12):
        bridge.turn()
        bridge.get_ready()
        bridge.turn()
        if len(bridge.commands.deaths) == 1 and bridge.rolling:
            bridge.commands.restart()
        for worker in bridge.pool.workers:
            if worker.stage is Stage.STOPPING:
                bridge.leave(worker)
    assert not bridge.rolling
    assert len(bridge.commands.deaths) >= 4
    assert not set(old) & set(bridge.pool.workers)


def test_a_successor_that_does_not_get_ready_is_told_of_once_and_given_up_when_asked_again(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    (old,) = bridge.staff(1)
    bridge.commands.restart()
    bridge.turn()
    (stuck,) = set(bridge.pool.workers) - {old}
    stuck.hear({"worker": "w"})
    bridge.now += SLOW - 1
    bridge.turn()
    assert "is not ready" not in caplog.text
    for _ in range(3):
        bridge.now += 1
        bridge.turn()
    assert caplog.text.count(f"{stuck}, which is to take over, is not ready after 30 s: it waits for Redis;") == 1
    bridge.commands.restart()
    bridge.turn()
    assert (old.stage, stuck.stage) == (Stage.READY, Stage.STOPPING)
    # One process more at most, and no longer than four seconds for one that does not even leave.
    assert bridge.pool.workers == [old, stuck]
    assert stuck.deadline == bridge.now + AT_ONCE
    bridge.leave(stuck)
    bridge.turn()
    bridge.get_ready()
    bridge.turn()
    bridge.leave(old)
    bridge.turn()
    assert not bridge.rolling
    assert not {old, stuck} & set(bridge.pool.workers)
    assert len(bridge.pool.ready) == 1


def test_a_successor_that_is_ready_is_not_given_up(bridge: Bridge) -> None:
    (old,) = bridge.staff(1)
    bridge.commands.restart()
    bridge.turn()
    bridge.get_ready()
    (ready,) = set(bridge.pool.workers) - {old}
    bridge.commands.restart()
    bridge.turn()
    assert (old.stage, ready.stage) == (Stage.STOPPING, Stage.READY)


def test_whoever_retires_during_a_restart_is_not_followed(bridge: Bridge) -> None:
    bridge.staff(2)
    bridge.commands.restart()
    bridge.turn()
    bridge.commands.stop_slot(1)
    bridge.turn()
    assert all(worker.stage is Stage.STOPPING for worker in bridge.pool.workers if worker.slot == 1)


@pytest.mark.parametrize("is_empty", [False, True], ids=["replaced", "empty"])
def test_a_successor_that_ends_because_its_slot_is_stopped_for_good_gives_nothing_up(
    bridge: Bridge, is_empty: bool
) -> None:
    first, second = bridge.staff(2)
    if is_empty:
        bridge.die(first)
    bridge.commands.restart()
    bridge.turn()
    bridge.now += 1
    bridge.turn()
    (successor,) = (worker for worker in bridge.pool.workers if worker.stage is Stage.STARTED and worker.slot == 1)
    bridge.commands.stop_slot(1)
    bridge.leave(successor)
    for _ in range(2):
        bridge.turn()
        bridge.get_ready()
    bridge.turn()
    bridge.leave(second)
    bridge.turn()
    (change,) = bridge.commands.changes
    assert (change["state"], change["replaced"]) == ("replaced", 1)


def test_a_successor_that_cannot_be_forked_leaves_all_as_it_is(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    old = bridge.staff(2)
    bridge.fork_fails = True
    bridge.commands.restart()
    bridge.turn()
    assert bridge.pool.workers == old
    assert not bridge.rolling
    assert "the new worker 1 could not be started" in caplog.text


def test_new_configuration_counts_once_a_worker_is_ready_with_it(bridge: Bridge) -> None:
    bridge.staff(2)
    bridge.file = SupervisorConfig(workers=1, app="new:app")
    bridge.commands.reload()
    bridge.turn()
    assert bridge.state.tried.app == "new:app"

    assert bridge.state.proven != bridge.file
    bridge.get_ready()
    bridge.turn()
    assert bridge.state.proven == bridge.file


def test_new_configuration_counts_also_where_the_slot_was_empty(bridge: Bridge) -> None:
    (old,) = bridge.staff(1)
    bridge.die(old)
    bridge.now += 1
    bridge.file = SupervisorConfig(workers=1, app="new:app")
    bridge.commands.reload()
    bridge.turn()
    assert bridge.state.proven != bridge.file
    bridge.get_ready()
    bridge.turn()
    assert [change["state"] for change in bridge.commands.changes] == ["replaced"]
    assert bridge.state.proven == bridge.file


def test_a_worker_that_gets_ready_after_its_reload_was_given_up_proves_nothing(bridge: Bridge) -> None:
    first, second = bridge.staff(2)
    before = bridge.state.tried
    bridge.die(first)
    bridge.now += 1
    bridge.file = SupervisorConfig(workers=2, app="new:app")
    bridge.commands.reload()
    bridge.turn()
    (filling,) = [worker for worker in bridge.pool.workers if worker.slot == 1]
    (successor,) = [worker for worker in bridge.pool.workers if worker.slot == 2 and worker is not second]
    bridge.die(successor, 3 << 8)
    filling.hear({"ready": True})
    bridge.turn()
    assert [change["state"] for change in bridge.commands.changes] == ["given_up"]
    assert bridge.state.proven is bridge.state.tried is before


def test_a_configuration_with_which_the_first_worker_dies_is_dropped(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    old = bridge.staff(3)
    before = bridge.state.tried
    bridge.file = SupervisorConfig(workers=1, app="new:app")
    bridge.commands.reload()
    bridge.turn()
    (successor,) = set(bridge.pool.workers) - set(old)
    bridge.die(successor, 3 << 8)
    bridge.turn()
    assert bridge.pool.workers == old
    assert bridge.state.tried is before
    assert "reload is given up: the new worker 1 could not load the app" in caplog.text
    assert "; the old one goes on, and so do 2 more" in caplog.text


def test_a_configuration_that_is_wrong_changes_nothing(bridge: Bridge) -> None:
    old = bridge.staff(2)
    bridge.file = ConfigError("--workers must be a number")
    with pytest.raises(OrderError, match="cannot be used, so nothing changes: --workers must be a number"):
        bridge.commands.reload()
    bridge.turn()
    assert bridge.pool.workers == old


@pytest.mark.parametrize(
    ("before", "after", "flag"),
    [
        ({"redis": "embedded:/a"}, {"redis": "embedded:/b"}, "--redis"),
        ({"redis": "embedded"}, {"redis": "redis://h"}, "--redis"),
        ({"redis": "redis://g"}, {"redis": "embedded"}, "--redis"),
        ({}, {"chdir": "/b"}, "--chdir"),
        ({"redis": "redis://g"}, {"redis": "redis://h"}, None),
        ({"graceful_timeout": 1.0}, {"graceful_timeout": 2.0}, None),
    ],
)
def test_what_cannot_change_is_said_and_stays(
    bridge: Bridge, caplog: pytest.LogCaptureFixture, before: dict[str, Any], after: dict[str, Any], flag: str | None
) -> None:
    bridge.state.proven = SupervisorConfig(workers=1, **before)
    bridge.file = SupervisorConfig(workers=5, **after)
    (name,) = after
    stays = before.get(name) if flag else after[name]
    assert bridge.reloads.read() == replace(bridge.file, **{name: stays})
    assert caplog.text.count("stays as it was") == bool(flag)
    assert flag is None or flag in caplog.text


def test_a_successor_that_had_to_take_over_early_and_dies_is_replaced_as_any_other(bridge: Bridge) -> None:
    (old,) = bridge.staff(1)
    bridge.commands.restart()
    bridge.turn()
    bridge.die(old)
    (new,) = bridge.pool.workers
    bridge.die(new)
    bridge.now += 1
    bridge.turn()
    (third,) = bridge.pool.workers
    assert third.pid not in (old.pid, new.pid)
    assert not bridge.rolling


def test_the_ledger_keeps_the_last_deaths_and_counts_all() -> None:
    death_log = DeathLog(most=2)
    for pid in range(3):
        death_log.add(Death(1, pid, 0.0, 1.0, Kind.SIGNAL, "was killed", 0))
    assert [death.pid for death in death_log.deaths] == [1, 2]
    assert death_log.counts[Kind.SIGNAL] == 3
