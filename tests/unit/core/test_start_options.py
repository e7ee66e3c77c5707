"""What a start may ask for: declared once, frozen, and refused with a sentence that says where data belongs."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields
from typing import Any
from uuid import UUID

import pytest

from pytask_core import InvalidTask, PyTaskHelpers
from pytask_core.options import Rule
from pytask_core.start_options import StartOptions


@pytest.mark.parametrize(
    "options", [{}, {"task_id": "a"}, {"task_id": 7}, {"task_id": UUID(int=7)}, {"cleanup": False}], ids=str
)
def test_what_makes_sense_is_let_through(options: dict[str, Any]) -> None:
    StartOptions(**options).refuse_unfit("mail")
    StartOptions(**options).refuse_unfit_for_all()


def test_every_option_is_an_argument_of_start_task_and_has_a_rule_and_the_same_default() -> None:
    arguments = inspect.signature(PyTaskHelpers.start_task).parameters
    for each in fields(StartOptions):
        assert Rule in each.metadata
        assert arguments[each.name].default == each.default


def test_options_cannot_be_changed_so_many_starts_may_share_them() -> None:
    options = StartOptions()
    with pytest.raises(FrozenInstanceError):
        options.cleanup = False  # type: ignore[misc] # that is what must not work


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"task_id": {"to": "ada"}},
            r"^task_id of the task 'mail' is a dict; if that is its data, write it as keyword",
        ),
        ({"cleanup": {"to": "ada"}}, r"^cleanup of the task 'mail' is a dict"),
        ({"cleanup": "archive"}, r"^cleanup of the task 'mail' must be True or False, not 'archive'; if that is data"),
        ({"cleanup": 1}, r"^cleanup of the task 'mail' must be True or False, not 1;"),
    ],
    ids=str,
)
def test_what_looks_like_data_is_refused_and_the_sentence_says_where_it_belongs(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidTask, match=words):
        StartOptions(**options).refuse_unfit("mail")


def test_options_for_many_are_refused_in_the_name_of_all() -> None:
    with pytest.raises(InvalidTask, match=r"^cleanup must be True or False, for all tasks alike, not 'no'$"):
        StartOptions(cleanup="no").refuse_unfit_for_all()  # type: ignore[arg-type] # that is what is refused
