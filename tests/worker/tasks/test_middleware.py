"""Middlewares around the runs of a worker: when each hook is called, where, and what one that fails does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from pytask_core import PyTaskHelpers, Task, TaskState, current_task_id
from pytask_core.config import CoreConfig
from pytask_core.connection import RedisSource
from pytask_core.keys import RedisKeys
from pytask_core.middleware import Middleware
from pytask_core.policy.poison import PoisonRule
from pytask_core.worker.app import WorkerApp
from pytask_core.worker.execution import Execution
from pytask_core.worker.worker import Worker
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


class App:
    """Makes workers with middlewares of the test's, which an app cannot be given yet."""

    def __init__(self, live: Live, *classes: type[Task], middlewares: list[Middleware]) -> None:
        self._live = live
        self._classes = {one.NAME: one for one in classes}
        self._middlewares = middlewares

    def create_worker(self, graceful_timeout: float) -> Worker:
        config = CoreConfig.of(
            keys=RedisKeys(**self._live.names),
            concurrency=10,
            max_payload=100_000,
            task_timeout=60,
            update_task_interval=None,
            partition_grace=None,
            stop_timeout=5,
            unknown_timeout=60,
            max_connections=64,
            cleanup_handlers=(),
            poison=PoisonRule(),
            durability="async",
        )
        source = RedisSource(self._live.server.url)
        app = WorkerApp(
            source=source,
            config=config,
            classes=self._classes,
            local_tasks=[],
            middlewares=self._middlewares,
            helpers=PyTaskHelpers(source, **self._live.names),
        )
        return Worker(app, graceful_timeout=graceful_timeout)


class Speaks(Task):
    NAME = "speaks"

    def __init__(self, how: str = "returns") -> None:
        self.how = how

    def start(self) -> str:
        if self.how == "fails":
            raise self.Error("as expected")
        if self.how == "breaks":
            raise ValueError("not expected")
        if self.how == "lasts":
            gevent.sleep(60)
        return "said"

    def stop(self) -> None:
        """There is nothing to wind up, but the worker calls it."""


class Notes(Middleware):
    """Notes each hook with the task that the current greenlet works for."""

    def __init__(self, name: str = "") -> None:
        self.told: list[str] = []
        self._name = name

    def _note(self, what: str) -> None:
        self.told.append(f"{what} {'mine' if current_task_id() else 'worker'}")

    def on_claim(self, execution: Execution, waited: float | None) -> None:
        self._note("claim" if waited is not None else "claim?")

    def before_run(self, execution: Execution) -> None:
        self._note("before run")

    def around_run(self, execution: Execution, call: Callable[[], Any]) -> Any:
        self._note(f"in, task made: {execution.task is not None}")
        try:
            return call()
        finally:
            self._note(f"out, task made: {execution.task is not None}")

    def before_stop(self, execution: Execution) -> None:
        self._note("before stop")

    def on_end(self, execution: Execution, state: TaskState, output: str) -> None:
        self._note(f"end {state}")

    def on_exception(self, execution: Execution, error: BaseException) -> None:
        self._note(f"exception {type(error).__name__}")

    def on_requeue(self, execution: Execution) -> None:
        self._note("requeue")

    def on_settled(self, execution: Execution, state: str | None) -> None:
        self._note(f"settled {state}")


def begin(live: Live, *middlewares: Middleware) -> Worker:
    app: Any = App(live, Speaks, middlewares=list(middlewares))
    return live.begin(app)


WHOLE_RUN = ["claim worker", "before run mine", "in, task made: False mine", "out, task made: True mine"]


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("returns", ["end SUCCESS mine", "settled SUCCESS worker"]),
        ("fails", ["end ERROR mine", "settled ERROR worker"]),
        ("breaks", ["end EXCEPTION mine", "exception ValueError mine", "settled EXCEPTION worker"]),
    ],
)
def test_the_hooks_of_a_run_come_in_order_and_in_the_greenlet_of_the_task(live: Live, how: str, end: list[str]) -> None:
    live.errors_expected = True
    notes = Notes()
    begin(live, notes)
    live.run("speaks", how=how)
    wait_until(lambda: notes.told[-1:] == end[-1:], message=f"{notes.told}")
    assert notes.told == [*WHOLE_RUN, *end]


def test_a_task_that_is_stopped_has_its_stop_hook_and_settles_without_an_end(live: Live) -> None:
    notes = Notes()
    begin(live, notes)
    task_id = live.helpers.start_task("speaks", how="lasts")
    wait_until(lambda: "in, task made: False mine" in notes.told)
    live.until(task_id, "RUNNING")
    live.helpers.stop_task(task_id)
    wait_until(lambda: "settled STOPPED worker" in notes.told, message=f"{notes.told}")
    assert notes.told == [*WHOLE_RUN[:3], "before stop mine", WHOLE_RUN[3], "settled STOPPED worker"]


def test_a_task_that_goes_back_to_the_queue_has_its_requeue_hook(live: Live) -> None:
    notes = Notes()
    worker = begin(live, notes)
    task_id = live.helpers.start_task("speaks", how="lasts")
    wait_until(lambda: "in, task made: False mine" in notes.told)
    live.end(worker)
    assert live.state(task_id) == "WAIT"
    assert notes.told == [*WHOLE_RUN[:3], "before stop mine", WHOLE_RUN[3], "requeue worker", "settled None worker"]


class Replaces(Middleware):
    def around_run(self, execution: Execution, call: Callable[[], Any]) -> Any:
        if execution.arguments == {"how": "never"}:
            return "left out"
        try:
            return [call()]
        except ValueError as error:
            return f"caught: {error}"


@pytest.mark.parametrize(
    ("how", "output"), [("returns", ["said"]), ("never", "left out"), ("breaks", "caught: not expected")]
)
def test_what_is_around_a_run_may_change_its_output_leave_it_out_or_catch(live: Live, how: str, output: Any) -> None:
    begin(live, Replaces())
    task_id = live.run("speaks", how=how)
    assert live.state(task_id) == "SUCCESS"
    assert json.loads(live.output(task_id)) == output


class Fails(Middleware):
    """Raises in the hooks named, for tasks that are to break."""

    def __init__(self, *hooks: str) -> None:
        self._hooks = hooks

    def _fail(self, hook: str) -> None:
        if hook in self._hooks:
            raise RuntimeError(f"{hook} failed")

    def on_claim(self, execution: Execution, waited: float | None) -> None:
        self._fail("on_claim")

    def before_run(self, execution: Execution) -> None:
        self._fail("before_run")

    def around_run(self, execution: Execution, call: Callable[[], Any]) -> Any:
        value = call()
        self._fail("around_run")
        return value

    def on_end(self, execution: Execution, state: TaskState, output: str) -> None:
        self._fail("on_end")

    def on_settled(self, execution: Execution, state: str | None) -> None:
        self._fail("on_settled")


@pytest.mark.parametrize("hook", ["before_run", "around_run"])
def test_an_early_hook_that_fails_ends_its_task_as_an_exception_and_no_other(live: Live, hook: str) -> None:
    live.errors_expected = True
    notes = Notes()
    worker = begin(live, notes, Fails(hook))
    ids = [live.run("speaks") for _ in range(3)]
    for task_id in ids:
        assert live.state(task_id) == "EXCEPTION"
        assert f"RuntimeError: {hook} failed" in live.output(task_id)
        assert "pipeline.py" not in live.output(task_id).partition("test_middleware.py")[0]
    wait_until(lambda: not worker.tasks)
    assert notes.told.count("exception RuntimeError mine") == 3


def test_late_hooks_that_fail_are_logged_and_harm_neither_task_nor_worker(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.errors_expected = True
    worker = begin(live, Fails("on_claim", "on_end", "on_settled"))
    ids = [live.run("speaks") for _ in range(3)]
    assert [live.state(task_id) for task_id in ids] == ["SUCCESS"] * 3
    wait_until(lambda: worker.done == 3 and not worker.tasks)
    for hook in ("on_claim", "on_end", "on_settled"):
        assert sum(f"Fails.{hook} of" in record.getMessage() for record in caplog.records) == 3
