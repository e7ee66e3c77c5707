"""What an ended task has held is let go as it ends, and the names that it uses are its own."""

from __future__ import annotations

import dataclasses
import gc
import json
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

import gevent
import pytest
from gevent.event import Event

from pytask_core import Task
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


class Thing:
    """Something that a task holds, such as a file."""


class Holds(Task):
    """Holds things in its attributes and in the variables of its methods, and ends as it is told."""

    NAME = "holds"
    alive: ClassVar[weakref.WeakSet[Thing]] = weakref.WeakSet()
    runs = 0

    def __init__(self, how: str) -> None:
        self.how = how
        self.thing = Thing()
        self.alive.add(self.thing)
        if how == "fails in init":
            raise ValueError(how)

    def start(self) -> Any:
        Holds.runs += 1
        mine = Thing()
        self.alive.add(mine)
        if self.how == "fails":
            raise ValueError(self.how)
        if self.how == "error":
            raise self.Error(self.how)
        if self.how == "output":
            return mine  # JSON cannot carry it.
        return Event().wait() if self.how != "ends" else None

    def stop(self) -> None:
        gevent.sleep(0)


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _gone() -> bool:
    # The hub's own variables may still name the greenlet that ran last.
    gevent.sleep(0)
    return not Holds.alive


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("how", ["ends", "error", "fails", "fails in init", "output"])
def test_what_a_task_holds_is_let_go_as_it_ends_without_python_looking_for_rings(live: Live, how: str) -> None:
    app = live.app(Holds)
    app.add_exception_handler(lambda _error: None)
    live.begin(app)
    live.run("holds", how=how)
    wait_until(_gone, message="what it held is let go")


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("how", ["stop_task", "restart_task", "reload_task", "remove_task", "shutdown"])
def test_what_a_task_holds_is_let_go_when_it_is_made_to_leave(live: Live, how: str) -> None:
    Holds.runs = 0
    worker = live.worker(Holds)
    task_id = live.helpers.start_task("holds", how="for ever")
    wait_until(lambda: len(Holds.alive) == 2)
    first = weakref.WeakSet(Holds.alive)
    if how == "shutdown":
        live.end(worker)
    elif how == "stop_task":
        live.helpers.stop_task(task_id)
    elif how == "restart_task":
        live.helpers.restart_task(task_id)
    elif how == "reload_task":
        live.helpers.reload_task(task_id)
    else:
        live.helpers.remove_task(task_id)
    wait_until(lambda: not first, message="what the first run held is let go")
    assert Holds.runs == 1 if how in {"stop_task", "remove_task", "shutdown"} else Holds.runs >= 1


class OwnNames(Task):
    """Uses, for things of its own, every name that pytask has or had for something, and some that it has not."""

    NAME = "own-names"

    def __init__(self) -> None:
        self._emit = self.start_ = "mine"
        self._id = "a number of mine"
        self._bindings = self._entry = self._runner = self._store = "mine"
        self.start = self.stop = 1.5  # type: ignore[assignment, method-assign] # the time, and a flag

    def start(self) -> Any:
        self.emit("said", self._emit)
        return [gevent.spawn(self._worker).get(), self._id, self._emit, sorted(self.__dict__)]

    def stop(self) -> None:
        raise AssertionError("it is over by then")

    def _worker(self) -> str:
        return "mine"

    def helpers(self) -> str:  # type: ignore[override]
        return "mine"


def test_the_names_that_a_task_uses_are_its_own(live: Live) -> None:
    live.worker(OwnNames)
    task_id = live.run("own-names")
    assert live.state(task_id) == "SUCCESS", live.output(task_id)
    assert live.output(task_id).startswith('["mine", "a number of mine", "mine", ["__pytask__", "_bindings", "_emit",')


#: Every name that a task has from us.
OURS = [*sorted(name for name in vars(Task) if not name.startswith("__")), "__pytask__", "NAME"]

#: Those with a meaning for the worker, so that a class which has them means that.
MEANT = {"start", "stop", "provide_context", "__pytask__", "NAME"}


class _Refuses:
    """An attribute that cannot be set, and that nothing of ours may ask for."""

    def __get__(self, task: Task | None, owner: type) -> Any:
        raise AssertionError("the worker asked a task for a name of the user's")

    def __set__(self, task: Task, value: Any) -> None:
        raise AssertionError("the worker set a name of the user's")


@pytest.mark.parametrize("name", [name for name in OURS if name not in MEANT])
@pytest.mark.parametrize("outcome", ["returns", "raises"])
def test_a_name_of_ours_is_neither_asked_for_nor_set_where_a_class_has_its_own(
    live: Live, name: str, outcome: str
) -> None:
    def start(task: Task) -> Any:
        if outcome == "raises":
            raise ValueError("as it likes")
        return sorted(set(vars(task)) - {"__pytask__"})

    own = type("Own", (Task,), {"NAME": "own", "start": start, name: _Refuses()})
    live.worker(own)
    task_id = live.run("own")
    assert live.state(task_id) == ("SUCCESS" if outcome == "returns" else "EXCEPTION"), live.output(task_id)
    assert ("as it likes" if outcome == "raises" else "[]") in live.output(task_id)


class TakesAll(Task):
    """Has no __init__ of its own, or one that takes whatever comes."""

    NAME = "takes-all"

    def start(self) -> Any:
        return "done"


class TellsAll(TakesAll):
    NAME = "tells-all"

    def __init__(self, /, **data: Any) -> None:
        self.data = data

    def start(self) -> Any:
        return self.data


def test_data_may_have_any_name(live: Live) -> None:
    live.worker(TakesAll, TellsAll)
    data = dict.fromkeys([*OURS, "self", "cls", "task", "data", "task_id", "task_name", "cleanup", "execution", ""], 1)
    ids = live.helpers.start_tasks([("takes-all", data), ("tells-all", data)])
    for task_id in ids:
        live.until(task_id, "SUCCESS", "EXCEPTION")
    assert json.loads(live.output(ids[0])) == "done", live.output(ids[0])
    assert json.loads(live.output(ids[1])) == data


def test_data_may_be_named_self_wherever_a_task_is_started(live: Live) -> None:
    app = live.app(TellsAll)
    app.start_local_task("tells-all", self="local")
    live.begin(app)
    task_id = live.helpers.start_task("tells-all", self="mine")
    live.until(task_id, "SUCCESS", "EXCEPTION")
    assert json.loads(live.output(task_id)) == {"self": "mine"}


@dataclasses.dataclass(frozen=True)
class Frozen(Task):
    NAME = "frozen"

    number: int = 1

    def start(self) -> Any:
        return [self.number, bool(self.id)]


class Strict(Task):
    """Takes no attribute but its fields, as the models of pydantic."""

    NAME = "strict"

    def __setattr__(self, name: str, value: Any) -> None:
        raise ValueError(f"no field {name!r}")

    def start(self) -> Any:
        return [1, bool(self.id)]


@pytest.mark.parametrize("cls", [Frozen, Strict])
def test_a_task_may_refuse_to_have_attributes_set(live: Live, cls: type[Task]) -> None:
    live.worker(cls)
    task_id = live.run(cls.NAME)
    assert live.output(task_id) == "[1, true]"


class ForEver(Task):
    def start(self) -> Any:
        gevent.sleep(600)


class StopIsNone(ForEver):
    NAME = "stop-is-none"
    stop = None  # type: ignore[assignment]


class StopIsAFlag(ForEver):
    NAME = "stop-is-a-flag"
    stop = False  # type: ignore[assignment]


class StopRaises(ForEver):
    NAME = "stop-raises"

    @property
    def stop(self) -> Any:  # type: ignore[override]
        raise LookupError("it has none")


@pytest.mark.parametrize("cls", [StopIsNone, StopIsAFlag, StopRaises])
def test_a_task_whose_class_has_something_else_under_the_name_of_stop_can_be_stopped(
    live: Live, cls: type[Task]
) -> None:
    live.errors_expected = cls is StopRaises
    live.worker(cls)
    task_id = live.helpers.start_task(cls.NAME)
    wait_until(lambda: live.state(task_id) == "RUNNING")
    assert live.helpers.stop_task(task_id, wait=5)
    assert live.state(task_id) == "STOPPED"


class ClassicNames(Task):
    """As written for the original."""

    NAME = "classic-names"

    def start(self) -> Any:
        return [self._id, self.id, self.redis.ping(), self.helpers.get_task(self._id, "task")]


def test_the_documented_names_and_the_originals_name_of_the_id_are_there(live: Live) -> None:
    live.worker(ClassicNames)
    task_id = live.run("classic-names")
    assert live.output(task_id) == f'["{task_id}", "{task_id}", true, "classic-names"]'


def test_outside_of_a_worker_a_task_says_what_it_lacks_and_takes_what_it_is_given() -> None:
    task = ClassicNames()
    with pytest.raises(AttributeError, match="a ClassicNames has 'redis' only while a worker runs it"):
        task.redis  # noqa: B018 - that it raises is the point
    task.id, task.redis = "an-id", "a client"
    assert (task.id, task.redis) == ("an-id", "a client")
