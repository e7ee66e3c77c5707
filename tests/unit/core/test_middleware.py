"""How middlewares are chained: in order, only where they override something, and unharmed by a late hook that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from pytask_core import Task, TaskState
from pytask_core.exception_handlers import ExceptionHandlers
from pytask_core.middleware import Chain, Middleware
from pytask_core.worker.execution import Execution


@pytest.fixture
def execution() -> Execution:
    return Execution("an-id", "worker:1", "job", "{}")


class Telling(Middleware):
    """Notes each call under its own name."""

    def __init__(self, name: str, told: list[str]) -> None:
        self._name = name
        self._told = told

    def on_claim(self, execution: Execution, waited: float | None) -> None:
        self._told.append(f"{self._name} claim {waited}")

    def before_run(self, execution: Execution) -> None:
        self._told.append(f"{self._name} before run")

    def around_run(self, execution: Execution, call: Callable[[], Any]) -> Any:
        self._told.append(f"{self._name} in")
        value = call()
        self._told.append(f"{self._name} out")
        return f"{self._name} {value}"

    def before_stop(self, execution: Execution) -> None:
        self._told.append(f"{self._name} before stop")

    def on_end(self, execution: Execution, state: TaskState, output: str) -> None:
        self._told.append(f"{self._name} end {state} {output}")

    def on_exception(self, execution: Execution, error: BaseException) -> None:
        self._told.append(f"{self._name} exception {error}")

    def on_requeue(self, execution: Execution) -> None:
        self._told.append(f"{self._name} requeue")

    def on_settled(self, execution: Execution, state: str | None) -> None:
        self._told.append(f"{self._name} settled {state}")


def test_the_first_middleware_is_the_outermost_it_begins_first_and_is_told_last(execution: Execution) -> None:
    told: list[str] = []
    chain = Chain([Telling("a", told), Telling("b", told)])

    chain.on_claim(execution, 0.5)
    for hook in (*chain.before_run, *chain.before_stop):
        hook(execution)
    assert chain.around(lambda *_: "value")(execution, Task) == "a b value"
    chain.on_end(execution, TaskState.SUCCESS, "1")
    chain.on_exception(execution, ValueError("no"))
    chain.on_requeue(execution)
    chain.on_settled(execution, None)

    assert told == [
        *("a claim 0.5", "b claim 0.5"),
        *("a before run", "b before run"),
        *("a before stop", "b before stop"),
        *("a in", "b in", "b out", "a out"),
        *("b end SUCCESS 1", "a end SUCCESS 1"),
        *("b exception no", "a exception no"),
        *("b requeue", "a requeue"),
        *("b settled None", "a settled None"),
    ]


def test_a_hook_that_is_not_overridden_is_not_called_and_costs_nothing() -> None:
    def perform(_execution: Execution, _cls: type[Task]) -> None:
        """Nothing to do."""

    chain = Chain([Middleware(), ExceptionHandlers()])
    assert chain.around(perform) is perform
    assert (chain.before_run, chain.before_stop, chain.hears_ends) == ([], [], False)


class FailingLate(Middleware):
    """Raises in all hooks that belong to the worker."""

    def on_claim(self, execution: Execution, waited: float | None) -> None:
        raise ValueError("on_claim")

    def on_end(self, execution: Execution, state: TaskState, output: str) -> None:
        raise SystemExit("on_end")

    def on_exception(self, execution: Execution, error: BaseException) -> None:
        raise KeyError("on_exception")

    def on_requeue(self, execution: Execution) -> None:
        raise KeyError("on_requeue")

    def on_settled(self, execution: Execution, state: str | None) -> None:
        raise ValueError("on_settled")


def test_a_late_hook_that_fails_is_logged_and_the_others_are_called(
    execution: Execution, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    chain = Chain([FailingLate(), Telling("a", told), FailingLate()])
    chain.on_claim(execution, None)
    chain.on_end(execution, TaskState.SUCCESS, "1")
    chain.on_exception(execution, ValueError("no"))
    chain.on_requeue(execution)
    chain.on_settled(execution, "SUCCESS")

    assert told == ["a claim None", "a end SUCCESS 1", "a exception no", "a requeue", "a settled SUCCESS"]
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.name for record in failed] == ["pytask.runner"] * 10
    for record, hook in zip(
        failed[::2], ["on_claim", "on_end", "on_exception", "on_requeue", "on_settled"], strict=True
    ):
        assert f"FailingLate.{hook} of" in record.getMessage()


def test_what_an_early_hook_raises_goes_to_the_caller_whose_task_it_ends(execution: Execution) -> None:
    class Failing(Middleware):
        def around_run(self, execution: Execution, call: Callable[[], Any]) -> Any:
            raise ValueError("around")

    with pytest.raises(ValueError, match="around"):
        Chain([Failing()]).around(lambda *_: None)(execution, Task)


def test_exception_handlers_are_called_with_the_exception(execution: Execution) -> None:
    told: list[BaseException] = []
    handlers = ExceptionHandlers()
    handlers.add(told.append)
    error = ValueError("no")

    handlers.on_exception(execution, error)
    assert told == [error]


def test_a_handler_that_fails_or_raises_the_same_again_keeps_no_frame_and_no_other_handler_from_it(
    execution: Execution,
) -> None:
    def again(error: BaseException) -> None:
        raise error

    told: list[BaseException] = []
    handlers = ExceptionHandlers()
    handlers.add(again)
    handlers.add(told.append)
    error = ValueError("no")
    handlers.on_exception(execution, error)
    assert told == [error]
    assert error.__traceback__ is None
