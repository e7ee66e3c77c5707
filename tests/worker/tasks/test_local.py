"""Local tasks: they belong to one worker, from its start to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import gevent
import pytest
from gevent.event import Event

from pytask_core import PyTask, Task
from tests.support.core_apps import Echo, Forever
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


@pytest.fixture(autouse=True)
def _forget() -> None:
    Forever.forget()


def local_id(live: Live, count: int = 1) -> str:
    """The id of the newest local task, once so many have been started."""
    wait_until(lambda: len(Forever.started) == count)
    return list(Forever.started)[-1]


def test_a_local_task_starts_with_its_worker_and_is_removed_at_its_stop(live: Live) -> None:
    app = live.app(Forever)
    app.start_local_task("forever", value=7)
    assert live.where.count == {}
    worker = live.begin(app)
    task_id = local_id(live)

    assert Forever.started[task_id] == [7]
    assert live.redis.hgetall(live.keys.task(task_id)).items() >= {"state": "RUNNING", "local": "true"}.items()
    assert live.where.active == [task_id]

    live.end(worker)
    assert (live.where.count, live.redis.exists(live.keys.task(task_id))) == ({}, 0)
    assert Forever.stopped == [task_id]


def test_a_local_task_may_be_started_while_the_worker_runs(live: Live) -> None:
    app = live.app(Forever)
    live.begin(app)

    app.start_local_task("forever")

    task_id = local_id(live)
    assert live.where.active == [task_id]


def test_each_worker_of_an_app_has_its_own(live: Live) -> None:
    app = live.app(Forever)
    app.start_local_task("forever")
    live.begin(app)
    local_id(live)
    live.begin(app)

    local_id(live, 2)
    assert len(live.where.active) == 2


def test_a_local_task_does_not_count_towards_concurrency(live: Live) -> None:
    app = live.app(Forever, Echo, concurrency=1)
    app.start_local_task("forever")
    live.begin(app)
    local_id(live)

    assert live.state(live.run("echo")) == "SUCCESS"


def test_a_push_of_a_local_id_is_refused_also_after_its_end(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    app = live.app(Forever, Echo)
    app.start_local_task("forever")
    app.start_local_task("echo")
    live.begin(app)
    task_id = local_id(live)
    wait_until(lambda: live.where.end)
    [ended] = live.where.end

    live.redis.lpush(live.keys.new_queue, task_id, ended)
    live.run("echo")

    assert Forever.started[task_id] == [None]
    assert live.state(ended) == "SUCCESS"
    assert any("is local to a worker" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("command", ["reload", "restart"])
def test_a_local_task_is_reloaded_where_it_is(live: Live, command: str) -> None:
    app = live.app(Forever)
    app.start_local_task("forever", value=1)
    live.begin(app)
    live.worker(Forever)
    task_id = local_id(live)
    live.helpers.set_task(task_id, "data", '{"value": 2}')

    assert (live.helpers.reload_task if command == "reload" else live.helpers.restart_task)(task_id)

    wait_until(lambda: Forever.started[task_id] == [1, 2])
    assert live.where.count == {task_id: 1}
    assert live.redis.hget(live.keys.task(task_id), "local") == "true"


def test_a_local_task_can_be_stopped(live: Live) -> None:
    app = live.app(Forever)
    app.start_local_task("forever")
    live.begin(app)
    task_id = local_id(live)

    assert live.helpers.stop_task(task_id)

    live.until(task_id, "STOPPED")


def test_a_local_task_without_a_class_is_refused_before_and_after_the_start(live: Live) -> None:
    app = live.app(Echo)
    app.start_local_task("unknown")
    with pytest.raises(PyTask.MissingTaskError, match="'unknown' has no class"):
        app.create_worker()

    other = live.app(Echo)
    live.begin(other)
    with pytest.raises(PyTask.MissingTaskError, match="'unknown' has no class"):
        other.start_local_task("unknown")
    assert live.where.count == {}


def test_local_data_that_json_cannot_carry_is_refused_at_once(live: Live) -> None:
    app = live.app(Echo)
    with pytest.raises(PyTask.PyTaskException, match="'echo'"):
        app.start_local_task("echo", value=object())


def test_a_string_at_the_task_set_delays_a_local_task_and_ends_no_worker(live: Live) -> None:
    live.errors_expected = True
    live.redis.set(live.keys.task_set, "oops")
    app = live.app(Forever)
    app.start_local_task("forever")
    live.begin(app)

    assert Forever.started == {}
    live.redis.delete(live.keys.task_set)
    assert local_id(live)


def test_a_local_task_that_is_registered_as_its_worker_stops_holds_nobody_up(own_live: Live) -> None:
    live = own_live
    app = live.app(Forever)
    worker = live.begin(app)
    wait_until(live.takes)
    live.server.pause()
    app.start_local_task("forever")
    gevent.sleep(0)  # the registration is under way
    worker.stop()
    gevent.spawn_later(0.2, live.server.resume)

    began = time.monotonic()
    live.greenlets[worker].join(10)

    assert live.greenlets[worker].ready()
    assert time.monotonic() - began < 4
    assert live.where.count == {}


class Fussy(Task):
    """Can be made, or not, as it is told."""

    NAME = "fussy"
    refuses = False
    made: ClassVar[list[str]] = []

    def __init__(self, wanted: int) -> None:
        if self.refuses:
            raise OSError("the other server is away too")
        self.made.append(self.id)

    def start(self) -> None:
        gevent.sleep(60)


@pytest.fixture
def fussy() -> Iterator[type[Fussy]]:
    yield Fussy
    Fussy.refuses = False
    Fussy.made.clear()


@pytest.mark.parametrize(
    ("data", "why"),
    [({"other": 1}, "TypeError: .*other"), ({"wanted": 1}, "OSError: the other server is away too")],
)
def test_a_local_task_that_cannot_be_made_ends_run_with_a_sentence_and_leaves_nothing(
    live: Live, fussy: type[Fussy], data: dict[str, Any], why: str
) -> None:
    fussy.refuses = True
    app = live.app(fussy, Forever)
    app.start_local_task("forever")
    app.start_local_task("fussy", **data)
    live.helpers.start_task("forever", "a")
    ready = Event()
    worker = app.create_worker()

    with pytest.raises(PyTask.PyTaskException, match=f"the local task 'fussy' cannot be made: {why}"):
        worker.run(ready.set)

    assert worker.holds_nothing
    assert not ready.is_set()
    assert live.where.count == {"a": 1}
    assert live.where.new == ["a"]
    assert "a" not in Forever.started, "nothing was claimed"


def test_a_local_task_that_cannot_be_made_after_a_redis_that_was_away_ends_run_once_it_is_there(
    own_live: Live, fussy: type[Fussy]
) -> None:
    live = own_live
    live.server.pause()
    app = live.app(fussy)
    app.start_local_task("fussy", other=1)
    worker = app.create_worker()
    gevent.spawn_later(0.5, live.server.resume)

    with pytest.raises(PyTask.PyTaskException, match="the local task 'fussy' cannot be made"):
        worker.run()


def test_a_local_task_that_is_added_and_cannot_be_made_ends_as_an_exception_and_no_worker_ends(
    live: Live, fussy: type[Fussy]
) -> None:
    app = live.app(fussy, Echo)
    live.begin(app)

    app.start_local_task("fussy", other=1)

    wait_until(lambda: live.where.end)
    assert live.state(live.where.end[0]) == "EXCEPTION"
    assert live.state(live.run("echo")) == "SUCCESS"


def test_a_local_task_that_cannot_be_made_again_is_tried_until_it_can(own_live: Live, fussy: type[Fussy]) -> None:
    live = own_live
    live.errors_expected = True
    app = live.app(fussy, Echo, update_task_interval=0.3, partition_grace=1, task_timeout=2)
    app.start_local_task("fussy", wanted=1)
    worker = live.begin(app)
    wait_until(lambda: fussy.made)
    fussy.refuses = True
    live.server.kill()
    wait_until(lambda: not worker.tasks or all(entry.leaving for entry in worker.tasks.values()))
    live.server.start()
    assert live.state(live.run("echo")) == "SUCCESS"

    fussy.refuses = False

    wait_until(lambda: len(fussy.made) == 2)


def test_a_reload_with_data_that_a_local_task_does_not_take_ends_that_task_alone(
    live: Live, fussy: type[Fussy]
) -> None:
    app = live.app(fussy, Echo)
    app.start_local_task("fussy", wanted=1)
    live.begin(app)
    [task_id] = fussy.made
    live.helpers.set_task(task_id, "data", '{"other": 2}')

    live.helpers.reload_task(task_id)

    live.until(task_id, "EXCEPTION")
    assert live.state(live.run("echo")) == "SUCCESS"
