"""What ``add_task`` refuses, each in a sentence that names the class and the remedy."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pytask_core import Cleanup, Monitor, PyTask, PyTaskException, Task
from pytask_core.options import COUNT, option
from pytask_core.task_classes import ClassOptions


@pytest.fixture
def app() -> Iterator[PyTask]:
    app = PyTask("redis://127.0.0.1:1")
    yield app
    app.helpers.close()


class SendMail(Task):
    NAME = "mail"

    def start(self) -> None:
        """Nothing to do."""


class SendBill(Task):
    NAME = "mail"

    def start(self) -> None:
        """Nothing to do."""


def test_a_second_class_of_the_same_name_is_refused_and_the_first_stays(app: PyTask) -> None:
    app.add_task(SendMail)
    with pytest.raises(
        PyTaskException, match=r"two task classes are named 'mail': .*\.SendMail and .*\.SendBill; change one"
    ):
        app.add_tasks(SendBill)
    assert app.task_classes == {"mail": SendMail}


def test_the_same_class_may_be_added_again(app: PyTask) -> None:
    app.add_tasks(SendMail, SendMail)
    app.add_task(SendMail)
    assert app.task_classes == {"mail": SendMail}


def test_a_class_that_inherits_its_name_is_a_second_one(app: PyTask) -> None:
    class Special(SendMail):
        pass

    app.add_task(Special)
    with pytest.raises(PyTaskException, match="two task classes are named 'mail'"):
        app.add_task(SendMail)


def test_a_task_map_is_no_way_around_it(app: PyTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gevent.monkey.is_module_patched", lambda _module: True)
    app.add_task(SendMail)
    with pytest.raises(PyTaskException, match="two task classes are named 'mail'"):
        app.run({"mail": SendBill})


class Nothing(Task):
    NAME = "unfit"


class Asynchronous(Task):
    NAME = "unfit"

    async def start(self) -> None:
        """Would never be awaited."""


class Streaming(Task):
    NAME = "unfit"

    async def start(self) -> Any:
        yield 1


class Generating(Task):
    NAME = "unfit"

    def start(self) -> Any:
        yield 1


class StopsLater(Task):
    NAME = "unfit"

    def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Would never be awaited."""


class Static(Task):
    NAME = "unfit"

    @staticmethod
    async def start() -> None:  # type: ignore[override]
        """Would never be awaited."""


class Attribute(Task):
    NAME = "unfit"
    start = 5  # type: ignore[assignment]


class Abstract(Task, abc.ABC):
    NAME = "unfit"

    def start(self) -> None:
        self.work()

    @abc.abstractmethod
    def work(self) -> None: ...


@pytest.mark.parametrize(
    ("unfit", "words"),
    [
        (Nothing, "Nothing has no start method; write one"),
        (Asynchronous, r"Asynchronous\.start is an 'async def'.*write 'def start\(self\)'"),
        (Streaming, "is an 'async def'"),
        (Generating, r"Generating\.start has a 'yield'"),
        (StopsLater, r"StopsLater\.stop is an 'async def'"),
        (Static, r"Static\.start is an 'async def'"),
        (Attribute, r"Attribute\.start must be a method, not 5"),
        (Abstract, "Abstract is abstract.*lacks work"),
        (type("Long", (SendMail,), {"NAME": "x" * 501}), "has 501 characters"),
        (SendMail(), "is not a subclass"),
    ],
)
def test_a_class_that_no_worker_can_run_is_refused(app: PyTask, unfit: Any, words: str) -> None:
    with pytest.raises(PyTaskException, match=words):
        app.add_task(unfit)
    assert app.task_classes == {}


def test_a_start_that_a_base_class_has_or_a_decorator_has_made_is_fine(app: PyTask) -> None:
    class Inherits(SendMail):
        NAME = "inherits"

    class Called:
        def __call__(self) -> None:
            """Nothing to do."""

    class Decorated(Task):
        NAME = "decorated"
        start = Called()  # type: ignore[assignment]

    app.add_tasks(Inherits, Decorated, Monitor, Cleanup)
    assert len(app.task_classes) == 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WithTries(ClassOptions):
    """As if there were one option more."""

    tries: int = option(COUNT, default=1)


def test_an_option_of_a_class_is_its_attribute_in_upper_case_or_that_of_its_nearest_base() -> None:
    class Patient(SendMail):
        TRIES = 5

    class Inherits(Patient):
        NAME = "inherits"

    assert WithTries.of("mail", SendMail) == WithTries(name="mail", tries=1)
    assert WithTries.of("mail", Patient) == WithTries(name="mail", tries=5)
    assert WithTries.of("other", Inherits) == WithTries(name="other", tries=5)


def test_an_option_of_a_class_that_breaks_its_rule_is_a_sentence_that_names_class_and_attribute() -> None:
    class Hopeless(SendMail):
        TRIES = 0

    with pytest.raises(PyTaskException, match=r"^TRIES of .*\.Hopeless must be a whole number above 0, not 0$"):
        WithTries.of("mail", Hopeless)


def test_upper_case_names_that_are_no_options_are_the_users_own(app: PyTask) -> None:
    class Own(SendMail):
        TRIES = "mine"

    app.add_task(Own)
    assert ClassOptions.of("mail", Own) == ClassOptions(name="mail")
