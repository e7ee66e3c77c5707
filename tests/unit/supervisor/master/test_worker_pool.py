"""Worker handles, pool, handback and deaths, with a clock, a fork and a kill of the test's own."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.deaths import Verdict
from pytask_supervisor.master.handback import PATIENCE
from pytask_supervisor.master.worker_handle import LAST_WORDS, TO_END, Stage, WorkerHandle
from pytask_supervisor.shared.channel import Channel
from pytask_supervisor.shared.exits import Exit
from pytask_supervisor.shared.shapes import MisshapenError
from tests.support.master_world import World

ASKED = Cause(Kind.ASKED, "was asked to leave")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_a_worker_goes_from_started_to_ready_to_stopping(world: World) -> None:
    world.pool.grow()
    world.pool.turn()
    (worker,) = world.pool.workers
    assert worker.stage is Stage.STARTED
    assert worker.ready_for == 0
    worker.hear({"ready": True})
    world.now += 2
    assert (worker.stage, worker.ready_for) == (Stage.READY, 2)
    worker.stop(ASKED)
    worker.stop(ASKED)
    assert worker.stage is Stage.STOPPING
    assert world.kills == [(worker.pid, signal.SIGINT)]


def test_a_worker_that_gets_ready_while_it_stops_goes_on_stopping(world: World) -> None:
    world.pool.grow()
    world.pool.turn()
    (worker,) = world.pool.workers
    worker.stop(ASKED)
    worker.hear({"ready": True})
    assert worker.stage is Stage.STOPPING


def test_a_worker_that_says_again_that_it_is_ready_has_been_so_since_the_first_time(world: World) -> None:
    (worker,) = world.staff(1)
    world.now += 60
    worker.hear({"ready": True})
    assert worker.ready_for == 60


@pytest.mark.parametrize("line", ["channel", "wire"])
def test_a_worker_with_a_line_closed_has_the_time_that_a_process_takes_to_end(world: World, line: str) -> None:
    (worker,) = world.staff(1)
    assert not worker.is_half_deaf
    (world.far_ends if line == "channel" else world.far_wires)[worker.pid].close()
    worker.channel.receive()
    worker.wire.receive()
    assert not worker.is_half_deaf
    world.now += TO_END
    assert worker.is_half_deaf


def test_a_worker_is_overdue_after_its_patience_and_killed_with_its_group(world: World) -> None:
    (worker,) = world.staff(1)
    worker.stop(ASKED)
    world.now += 30 + LAST_WORDS - 0.01
    assert not worker.is_overdue
    world.now += 0.01
    assert worker.is_overdue
    worker.kill(ASKED)
    assert not worker.is_overdue
    assert world.kills[1:] == [(worker.pid, signal.SIGKILL), (-worker.pid, signal.SIGKILL)]


def test_a_worker_that_somebody_else_asked_to_stop_has_a_deadline_too(world: World) -> None:
    (worker,) = world.staff(1)
    worker.hear({"stopping": True})
    assert worker.stage is Stage.STOPPING
    assert worker.deadline == world.now + 30 + LAST_WORDS


def test_killing_a_worker_that_is_gone_is_no_error(world: World) -> None:
    (worker,) = world.staff(1)
    world.gone.add(worker.pid)
    worker.stop(ASKED)
    worker.kill(ASKED)


def test_a_program_of_another_user_that_a_dead_worker_left_is_no_error(world: World) -> None:
    (worker,) = world.staff(1)
    world.foreign_groups.add(worker.pid)
    assert world.die(worker) is None
    assert (-worker.pid, signal.SIGKILL) not in world.kills


def test_unknown_words_change_nothing(world: World) -> None:
    (worker,) = world.staff(1)
    worker.hear({"novelty": 1})
    assert worker.stage is Stage.READY


def test_a_team_fills_its_places_and_gives_the_lowest_free_number(world: World) -> None:
    workers = world.staff(3)
    assert [worker.slot for worker in workers] == [1, 2, 3]
    world.pool.shrink(ASKED)
    assert world.pool.size == 2
    # Number three is still leaving.
    world.pool.grow()
    world.pool.turn()
    assert [worker.slot for worker in world.pool.workers] == [1, 2, 3, 4]
    world.pool.remove(workers[2])
    world.pool.grow()
    world.pool.turn()
    assert sorted(worker.slot for worker in world.pool.workers) == [1, 2, 3, 4]


def test_a_closed_team_is_not_filled_again(world: World) -> None:
    workers = world.staff(2)
    world.die(workers[0])
    world.pool.close(ASKED)
    world.now += 100
    world.pool.turn()
    assert world.pool.workers == [workers[1]]
    assert world.pool.deadline is None


def test_a_proven_workers_place_is_due_at_once_and_a_quick_deaths_later(world: World) -> None:
    first, second = world.staff(2)
    world.now += 0.5
    world.die(first)
    assert world.pool.deadline == pytest.approx(world.now + 0.1)
    world.now += 5
    world.die(second)
    assert world.pool.deadline is not None
    world.pool.turn()
    assert world.pool.size == len(world.pool.workers) == 2


def test_a_fork_that_fails_is_tried_again_later(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.fork_fails = True
    world.pool.grow()
    world.pool.turn()
    assert world.pool.workers == []
    assert "Resource temporarily unavailable" in caplog.text
    world.fork_fails = False
    world.pool.turn()
    assert world.pool.workers == []
    world.now += 1
    world.pool.turn()
    assert len(world.pool.workers) == 1


def test_a_dead_workers_tasks_are_handed_back_by_a_ready_one(world: World) -> None:
    dead, alive = world.staff(2)
    world.die(dead)
    world.handback.turn()
    world.handback.turn()
    assert world.told(alive) == [f"w{dead.pid}"]
    assert world.handback.confirm(f"w{dead.pid}", alive) == str(dead)
    assert world.handback.confirm(f"w{dead.pid}", alive) is None
    assert not world.handback


def test_an_order_is_not_confirmed_by_a_worker_that_was_never_told_of_it(world: World) -> None:
    dead, alive, liar = world.staff(3)
    world.die(dead)
    world.handback.turn()
    assert world.handback.confirm(f"w{dead.pid}", liar) is None
    assert world.handback.confirm(f"w{dead.pid}", alive) == str(dead)


def test_a_worker_has_one_id_and_it_ends_as_the_master_has_said(world: World) -> None:
    (worker,) = world.staff(1)
    with pytest.raises(MisshapenError, match="another worker"):
        worker.hear({"worker": "w2"})
    ours, theirs = Channel.pair()
    fresh = WorkerHandle(7, 1, ours, ours, mark="-abcd", graceful_timeout=1)
    with pytest.raises(MisshapenError, match="another worker"):
        fresh.hear({"worker": "host-7-abce"})
    assert fresh.worker_id is None
    fresh.hear({"worker": "host-7-abcd"})
    assert fresh.worker_id == "host-7-abcd"
    fresh.close()
    theirs.close()


def test_an_order_waits_for_the_replacement_where_there_is_no_sibling(world: World) -> None:
    (dead,) = world.staff(1)
    world.die(dead)
    world.handback.turn()
    world.now += 1
    world.pool.turn()
    (successor,) = world.pool.workers
    world.handback.turn()
    assert world.told(successor) == []
    successor.hear({"ready": True})
    world.handback.turn()
    assert world.told(successor) == [f"w{dead.pid}"]


def test_an_order_whose_carrier_dies_goes_to_another(world: World) -> None:
    dead, carrier, other = world.staff(3)
    world.die(dead)
    world.handback.turn()
    assert world.told(carrier) == [f"w{dead.pid}"]
    world.die(carrier)
    world.handback.turn()
    assert sorted(world.told(other)) == [f"w{dead.pid}", f"w{carrier.pid}"]


def test_an_order_that_takes_long_goes_round(world: World) -> None:
    dead, first, second, third = world.staff(4)
    world.die(dead)
    told: list[int] = []
    for _ in range(4):
        world.handback.turn()
        told += [worker.slot for worker in (first, second, third) if world.told(worker)]
        deadline = world.handback.deadline
        assert deadline == world.now + PATIENCE
        world.now = deadline
    assert told == [2, 3, 4, 2]


def test_a_lone_worker_is_not_told_twice(world: World) -> None:
    dead, alive = world.staff(2)
    world.pool.shrink(ASKED)  # Number two leaves; it is not ready any more.
    world.die(dead)
    world.now += 1
    world.pool.turn()
    successor = world.pool.workers[0]
    successor.hear({"ready": True})
    for _ in range(3):
        world.handback.turn()
        world.now += PATIENCE
        assert world.handback.deadline is None
    assert world.told(successor) == [f"w{dead.pid}"]
    assert world.told(alive) == []


def test_a_worker_that_said_goodbye_leaves_no_order(world: World) -> None:
    (worker,) = world.staff(1)
    worker.hear({"left": True})
    world.die(worker, status=0)
    assert not world.handback
    assert (-worker.pid, signal.SIGKILL) not in world.kills


def test_exit_code_0_without_a_goodbye_is_no_clean_end(world: World) -> None:
    (worker,) = world.staff(1)
    world.die(worker, status=0)
    assert len(world.handback) == 1


def test_a_worker_that_never_had_an_id_leaves_no_order(world: World) -> None:
    world.pool.grow()
    world.pool.turn()
    world.die(world.pool.workers[0])
    assert not world.handback


def test_one_failed_boot_of_several_is_no_end_until_all_places_have_failed(world: World) -> None:
    for _ in range(2):
        world.pool.grow()
    world.pool.turn()
    first, second = world.pool.workers
    for worker in (first, second):
        worker.hear({"failed": "no module x"})
    assert world.die(first, Exit.LOAD << 8) is None
    verdict = world.die(second, Exit.LOAD << 8)
    assert verdict is not None
    assert verdict.code is Exit.LOAD


def test_one_failed_boot_of_several_is_no_end_if_another_gets_ready(world: World) -> None:
    for _ in range(2):
        world.pool.grow()
    world.pool.turn()
    first, second = world.pool.workers
    first.hear({"failed": "no module x"})
    assert world.die(first, Exit.LOAD << 8) is None
    second.hear({"ready": True})
    world.deaths.note_ready()
    world.now += 5
    world.pool.turn()
    assert world.pool.size == len(world.pool.workers) == 2
    assert second.stage is Stage.READY


@pytest.mark.parametrize("code", [Exit.LOAD, Exit.REFUSED])
def test_what_no_second_try_would_change_ends_the_supervisor(world: World, code: Exit) -> None:
    world.pool.grow()
    world.pool.turn()
    (worker,) = world.pool.workers
    worker.hear({"failed": "no module x", "detail": "Traceback"})
    verdict = world.deaths.bury(worker, code << 8)
    assert verdict is not None
    assert (verdict.code, verdict.sentence) == (code, "no module x")


def test_once_a_worker_was_ready_a_failing_load_is_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    first, _second = world.staff(2)
    world.deaths.note_ready()
    first.hear({"failed": "no module x"})
    assert world.die(first, Exit.LOAD << 8) is None
    assert "could not load the app (exit code 3): no module x; the next one starts" in caplog.text


def crash_on(world: World, slot: int) -> tuple[int, Verdict | None]:
    """Let the worker in that place die right after its start, again and again."""
    for deaths in range(1, 30):
        world.now += 40
        world.pool.turn()
        (worker,) = [worker for worker in world.pool.workers if worker.slot == slot]
        verdict = world.die(worker)
        if verdict is not None:
            return deaths, verdict
    return deaths, None


def test_ten_quick_deaths_in_a_row_end_the_supervisor(world: World) -> None:
    world.pool.grow()
    deaths, verdict = crash_on(world, slot=1)
    assert deaths == 10
    assert verdict is not None
    assert verdict.code is Exit.CRASH_LOOP


def test_a_crash_loop_beside_a_proven_worker_goes_on(world: World) -> None:
    proven, _ = world.staff(2)
    assert crash_on(world, slot=2) == (29, None)
    assert proven in world.pool.workers
