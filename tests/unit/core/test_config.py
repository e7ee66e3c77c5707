"""The configuration of an app: complete, checked once, frozen; and how any option is declared and checked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import pytest

from pytask_core import PyTask
from pytask_core.config import CoreConfig
from pytask_core.keys import RedisKeys
from pytask_core.options import COUNT, SECONDS, Rule, faults, option
from pytask_core.policy.poison import PoisonRule

OPTIONS: dict[str, Any] = {
    "keys": RedisKeys(),
    "concurrency": 1000,
    "max_payload": 1000,
    "task_timeout": 60,
    "update_task_interval": None,
    "partition_grace": None,
    "stop_timeout": 10,
    "unknown_timeout": 3600,
    "max_connections": 64,
    "cleanup_handlers": (),
    "poison": PoisonRule(),
    "durability": "async",
}


@pytest.fixture
def app() -> Iterator[PyTask]:
    app = PyTask("redis://127.0.0.1:1", task_timeout=8, concurrency=3)
    yield app
    app.helpers.close()


def test_what_was_left_out_follows_from_the_rest() -> None:
    config = CoreConfig.of(**{**OPTIONS, "task_timeout": 8, "cleanup_handlers": ["a:b"], "durability": "wait"})
    assert (config.update_task_interval, config.partition_grace, config.graceful_timeout) == (2, 4, 15)
    assert (config.cleanup_handlers, config.replicas) == (("a:b",), 1)


def test_a_configuration_cannot_be_changed() -> None:
    config = CoreConfig.of(**OPTIONS)
    with pytest.raises(FrozenInstanceError):
        config.concurrency = 5  # type: ignore[misc] # that is what must not work


def test_every_option_with_a_rule_is_refused_by_its_name() -> None:
    with_rules = [each.name for each in fields(CoreConfig) if Rule in each.metadata]
    assert len(with_rules) == 8
    for name in with_rules:
        with pytest.raises(ValueError, match=rf"^{name} must be .*, not 'much'$"):
            CoreConfig.of(**{**OPTIONS, name: "much"})


def test_every_option_of_an_app_reaches_the_configuration() -> None:
    given = set(inspect.signature(PyTask).parameters) - {"redis_instance"}
    as_one = {"keys": {*inspect.signature(RedisKeys).parameters}, "poison": {"max_deliveries", "poison_window"}}
    assert given == {one for each in fields(CoreConfig) for one in as_one.get(each.name, {each.name})}


def test_an_app_shows_its_options_and_one_that_is_set_counts_from_the_next_worker_on(app: PyTask) -> None:
    assert (app.concurrency, app.task_timeout, app.partition_grace, app.durability) == (3, 8, 4, "async")
    before = app.create_worker()
    app.concurrency = 7
    app.poison = PoisonRule(max_deliveries=0)
    after = app.create_worker().config
    assert before.config.concurrency == 3
    assert after == replace(before.config, concurrency=7, poison=PoisonRule(max_deliveries=0))


def test_an_option_is_declared_in_one_line_and_its_first_broken_rule_is_told() -> None:
    @dataclass
    class Example:
        pause: float = option(SECONDS, Rule("at most 9", lambda value: bool(value <= 9)))
        tries: int = option(COUNT, default=1)
        free: str = ""

    assert list(faults(Example(9))) == []
    told = [str(fault) for fault in faults(Example(True, 0))]
    assert told == [
        "pause must be a number of seconds above 0, not True",
        "tries must be a whole number above 0, not 0",
    ]
    assert [str(fault) for fault in faults(Example(10))] == ["pause must be at most 9, not 10"]
