"""While a worker lives Python looks for garbage less often, and afterwards as before."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pytask_core.process.gc_tuning import MIDDLE, OLD, YOUNG, calm_collector


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_it_looks_less_often_and_not_among_what_was_there() -> None:
    gc.set_threshold(700, 10, 10)
    with calm_collector():
        assert gc.get_threshold() == (YOUNG, MIDDLE, OLD)
        assert gc.get_freeze_count() > 1000

    assert gc.get_threshold() == (700, 10, 10)
    assert gc.get_freeze_count() == 0


def test_what_becomes_garbage_meanwhile_is_still_found() -> None:
    class Loop:
        me: object = None

    gc.set_threshold(700, 10, 10)
    with calm_collector():
        for _ in range(3 * YOUNG):
            one = Loop()
            one.me = one
        left = sum(isinstance(each, Loop) for each in gc.get_objects())

    assert left <= YOUNG


def test_a_program_that_looks_even_less_often_or_never_has_its_way() -> None:
    gc.set_threshold(50_000, 100, 100)
    with calm_collector():
        assert gc.get_threshold() == (50_000, 100, 100)
    gc.set_threshold(0, 10, 10)
    with calm_collector():
        assert gc.get_threshold()[0] == 0


def test_all_is_as_before_after_an_error() -> None:
    gc.set_threshold(700, 10, 10)
    with pytest.raises(KeyError), calm_collector():
        raise KeyError

    assert gc.get_threshold() == (700, 10, 10)
