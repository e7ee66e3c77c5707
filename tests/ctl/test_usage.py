"""The command line: what is read from which words, and what a mistake gets."""

from __future__ import annotations

import io
from typing import Any

import pytest

from pytask_core import redis_url
from pytask_supervisor.ctl.arguments import Options, parse
from tests.ctl.conftest import run_ctl


def options(*words: str, environ: dict[str, str] | None = None) -> Options:
    found = parse(words, environ or {}, io.StringIO())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], "VERB"),
        (["dance"], "dance"),
        (["start"], "NAME"),
        (["start", "hello", "text"], "text"),
        (["start", "hello", "=1"], "=1"),
        (["start", "hello", "a=1", "a=2"], "'a'"),
        (["start", "hello", "--wiat"], "--wiat"),
        (["start", "hello", "--id"], "--id"),
        (["stop"], "ID"),
        (["show"], "ID"),
        (["show", "one", "two"], "two"),
        (["events", "one", "two"], "two"),
        (["queues", "--json", "more"], "more"),
        (["list", "--state", "ASLEEP"], "ASLEEP"),
        (["--redis"], "--redis"),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_exit_code_2(words: list[str], names: str) -> None:
    done = run_ctl(*words)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert names in done.err


@pytest.mark.parametrize("words", [["--help"], ["start", "--help"]])
def test_help_is_printed_and_no_mistake(words: list[str]) -> None:
    done = run_ctl(*words)
    assert done.code == 0
    assert "--redis" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("hi", "hi"),
        ("", ""),
        ("1", 1),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ('"1"', "1"),
        ('{"a": [1]}', {"a": [1]}),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("a=b", "a=b"),
        ("[1", "[1"),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_value_is_json_where_it_parses_and_else_text(text: str, value: Any) -> None:
    assert options("start", "hello", f"key={text}").data == {"key": value}


def test_flags_may_stand_before_the_verb_after_it_and_between_its_words() -> None:
    found = options("--json", "start", "hello", "a=1", "--wait", "b=2", "--redis", "unix:///s")
    assert found.as_json
    assert found.wait
    assert found.redis == "unix:///s"
    assert found.data == {"a": 1, "b": 2}
    assert options("--redis", "unix:///s", "stop", "x", "--json", "y").ids == ["x", "y"]


def test_what_stands_after_two_dashes_is_an_id() -> None:
    assert options("stop", "--", "-x", "--json").ids == ["-x", "--json"]


def test_a_flag_beats_the_environment_and_that_the_default() -> None:
    environ = {"PYTASK_REDIS_URL": "unix:///environ", "PYTASK_TASK_SET": "environ", "HOME": "/"}
    assert options("queues").redis == redis_url.DEFAULT
    assert options("queues").names == {}
    assert options("queues", environ=environ).redis == "unix:///environ"
    assert options("queues", environ=environ).names == {"task_set": "environ"}
    flags = ("--redis", "unix:///flag", "--task-set", "flag")
    assert options(*flags, "queues", environ=environ).redis == "unix:///flag"
    assert options("queues", *flags, environ=environ).names == {"task_set": "flag"}
