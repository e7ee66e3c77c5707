"""The rooms of the core that need no server: keys, payload, states, backoff."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

import pytask_core
from pytask_core import PyTask
from pytask_core.errors import InvalidTask, PayloadTooLarge, PyTaskException
from pytask_core.keys import RedisKeys
from pytask_core.loops import Backoff
from pytask_core.payload import decode_data, encode
from pytask_core.policy.poison import PoisonRule
from pytask_core.process import log_lines
from pytask_core.states import FINAL, TaskState
from pytask_core.worker.leasing.lease import Lease
from tests.support.legal_moves import TRANSITIONS

ROOT = Path(__file__).parents[2]

# Keys


def all_names(keys: RedisKeys) -> list[str]:
    """Every name that a system uses for itself."""
    shared = [keys.task_set, keys.new_queue, keys.end_queue, keys.workers, keys.running, keys.monitor, keys.spare]
    return [*shared, keys.held("w"), keys.names("w"), keys.inbox("w"), keys.cleaning("w"), keys.suspect("w")]


def test_the_public_names_are_those_of_the_contract() -> None:
    keys = RedisKeys()

    assert (keys.task_set, keys.new_queue, keys.end_queue) == ("tasks", "new-task", "end-task")
    assert (keys.task("ID"), keys.control("ID")) == ("task-ID", "task-ID-control")
    assert keys.id_of_control("task-a-control-control") == "a-control"


def test_two_systems_with_other_names_share_nothing() -> None:
    one = all_names(RedisKeys())
    other = all_names(RedisKeys("b-tasks", "b-task-", "b-new", "b-end"))

    assert len({*one, *other}) == len(one) + len(other)


def test_every_name_of_a_tagged_system_lies_in_its_slot() -> None:
    keys = RedisKeys("{p}tasks", "{p}task-", "{p}new", "{p}end")

    assert keys.one_slot
    assert all("{p}" in name for name in all_names(keys))
    assert not RedisKeys().one_slot
    assert not RedisKeys("{a}tasks", "{b}task-", "{a}new", "{a}end").one_slot


@pytest.mark.parametrize(
    "names",
    [
        ("", "t-", "n", "e"),
        ("s", "", "n", "e"),
        ("same", "t-", "same", "e"),
        ("t-asks", "t-", "n", "e"),
        ("s", "t-", "t-new", "e"),
        ("s}{", "t-", "n", "e"),
        (None, "t-", "n", "e"),
    ],
)
def test_names_that_cannot_be_used_together_are_refused(names: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"task_set|task_prefix|new_queue|must differ"):
        RedisKeys(*names)


@given(st.text(min_size=1))
def test_the_control_channel_of_any_id_names_that_id(task_id: str) -> None:
    assert RedisKeys().id_of_control(RedisKeys().control(task_id)) == task_id


# Payload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_data_comes_back_as_it_went(data: dict[str, Any]) -> None:
    text = encode("the data", data)

    assert text.isascii()
    assert decode_data(text) == data


@pytest.mark.parametrize("value", [math.nan, math.inf, {1}, object(), b"x", {"a": {(1,): 2}}])
def test_what_json_cannot_carry_is_named(value: object) -> None:
    with pytest.raises(InvalidTask, match=r"the output of type .* cannot be written as JSON"):
        encode("the output", value)


def test_the_cap_counts_the_bytes_of_the_json() -> None:
    assert encode("the data", "x" * 8, 10) == '"xxxxxxxx"'
    with pytest.raises(PayloadTooLarge, match="11 bytes of JSON, more than max_payload=10"):
        encode("the data", "x" * 9, 10)
    with pytest.raises(PayloadTooLarge):
        encode("the data", "é" * 2, 10)


@pytest.mark.parametrize("text", [None, "", "null", "{}"])
def test_no_data_is_no_arguments(text: str | None) -> None:
    assert decode_data(text) == {}


@pytest.mark.parametrize("text", ["x", "[]", "1", '"a"', "NaN", '{"a": Infinity}', "[" * 10_000, '{"a": "\udcff"}'])
def test_data_that_is_no_object_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidTask, match="the data of the task"):
        decode_data(text)


# States


def test_every_state_has_its_moves_and_none_stays_where_it_is() -> None:
    assert set(TRANSITIONS) == set(TaskState)
    assert all(state not in moves for state, moves in TRANSITIONS.items())
    assert frozenset({"SUCCESS", "ERROR", "EXCEPTION"}) == FINAL


# Backoff


def test_pauses_grow_up_to_the_longest_and_begin_again_after_a_reset() -> None:
    backoff = Backoff(first=1, most=5, rand=lambda: 1)

    assert [backoff.pause() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.pause() == 1


def test_pauses_have_jitter_of_a_half() -> None:
    assert Backoff(first=1, rand=lambda: 0).pause() == 0.5


# Poison


@pytest.mark.parametrize("most", [-1, 1.5, True, None])
def test_a_number_of_deaths_that_makes_no_sense_is_refused(most: Any) -> None:
    with pytest.raises(ValueError, match="max_deliveries"):
        PoisonRule(most)


def test_the_verdict_is_json_that_names_the_number() -> None:
    assert "3 times in a row (max_deliveries=3)" in json.loads(PoisonRule().verdict)


@pytest.mark.parametrize(
    "option",
    [
        {"task_timeout": "60"},
        {"task_timeout": None},
        {"task_timeout": 0},
        {"stop_timeout": "long"},
        {"update_task_interval": float("nan")},
        {"partition_grace": True},
        {"max_payload": 0},
        {"max_payload": "1 MiB"},
        {"concurrency": -1},
        {"cleanup_handlers": "module:handler"},
        {"poison_window": "3"},
        {"unknown_timeout": 0},
        {"unknown_timeout": float("inf")},
        {"max_deliveries": 1.5},
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense_is_a_sentence_that_names_it(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        PyTask("redis://127.0.0.1:1", **option)


def test_a_short_task_timeout_alone_is_enough() -> None:
    app = PyTask("redis://127.0.0.1:1", task_timeout=8)
    assert (app.update_task_interval, app.partition_grace) == (2, 4)
    assert PyTask("redis://127.0.0.1:1").update_task_interval == 5


@pytest.mark.parametrize(("interval", "timeout"), [(15, 60), (16, 64), (30, 120), (3600, 14_400)])
def test_the_lease_stretches_with_the_interval_of_renewals(interval: float, timeout: float) -> None:
    app = PyTask("redis://127.0.0.1:1", update_task_interval=interval)
    assert (app.update_task_interval, app.task_timeout, app.partition_grace) == (interval, timeout, timeout / 2)


def test_a_grace_that_is_given_must_have_room_for_a_late_renewal() -> None:
    with pytest.raises(ValueError, match="update_task_interval=20 must be at most half of partition_grace=30"):
        PyTask("redis://127.0.0.1:1", update_task_interval=20, partition_grace=30)


def test_a_lease_is_kept_to_before_it_is_promised_and_longer_only_once_the_promise_has_arrived() -> None:
    lease = Lease(60, 5, 30)
    assert (lease.promise(), lease.interval, lease.grace) == (60, 5, 30)

    lease.renewed(60, 2)
    assert (lease.promise(), lease.seconds, lease.interval, lease.grace) == (2, 2, 0.5, 1)

    lease.renewed(2, None)
    assert (lease.promise(), lease.seconds, lease.interval, lease.grace) == (60, 2, 0.5, 1)
    lease.renewed(60, None)
    assert (lease.seconds, lease.interval, lease.grace) == (60, 5, 30)


@pytest.mark.parametrize(("asked", "kept"), [(0, 1), (0.2, 1), (60, 60), (61, 60), (1e9, 60)])
def test_no_lease_is_too_short_to_stop_tasks_or_longer_than_the_app_wants(asked: float, kept: float) -> None:
    lease = Lease(60, 5, 30)
    lease.renewed(60, asked)
    assert lease.promise() == kept


def test_a_lease_of_the_apps_own_may_be_as_short_as_it_likes() -> None:
    lease = Lease(0.4, 0.1, 0.3)
    lease.renewed(0.4, 0.4)
    assert (lease.promise(), lease.interval, lease.grace) == (0.4, 0.1, 0.3)


@pytest.mark.parametrize("instance", [("localhost", 6379), b"redis://x", 7, 1.5, ["localhost:6379"]], ids=repr)
def test_what_is_no_way_to_reach_redis_is_a_sentence(instance: Any) -> None:
    with pytest.raises(PyTaskException, match="redis_instance must be"):
        PyTask(instance)


def test_what_others_wrote_is_bounded_in_our_log_lines_whatever_handler_a_program_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = "\0" * 3_000_000
    log = logging.getLogger("pytask.claimer")
    began = time.process_time()
    log.warning("The id %r has no hash", long)
    log.warning("%.1000r %s", [long] * 300, long.encode())
    log.warning("short %s", "as it is")
    assert time.process_time() - began < 1
    assert max(len(each.getMessage()) for each in caplog.records) < 30_000
    assert "2995000 characters left out" in caplog.records[0].getMessage()
    assert caplog.records[2].getMessage() == "short as it is"


def test_every_logger_of_the_core_bounds_its_lines() -> None:
    source = "".join(path.read_text() for path in (ROOT / "pytask_core").rglob("*.py"))
    named = set(re.findall(r'getLogger\("(pytask[a-z.]*)"\)', source))
    assert len(named) > 10
    for name in pytask_core.__all__:
        getattr(pytask_core, name)
    for name in named:
        assert len([each for each in logging.getLogger(name).filters if isinstance(each, log_lines.Bounds)]) == 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1: "a", "1": "b"}, "the keys 1 and '1' would be one"),
        ([{"x": {True: 1, "true": 2}}], "the keys True and 'true' would be one"),
        ({"a": [1, {"b": {2, 3}}]}, r"set is not JSON serializable at ['a'][1]['b']"),
        ({"a": {"n": float("nan")}}, r"at ['a']['n']"),
        ([1, b"x"], "at [1]"),
    ],
)
def test_what_json_cannot_carry_is_named_by_its_place(value: object, words: str) -> None:
    with pytest.raises(InvalidTask) as raised:
        encode("the output", value)
    assert words in str(raised.value)


def test_keys_that_are_no_texts_and_do_not_clash_are_carried() -> None:
    assert encode("the output", {1: "a", "2": {None: "b"}}) == '{"1": "a", "2": {"null": "b"}}'


def test_a_client_of_asyncio_is_refused_by_that_name_and_a_url_of_valkey_is_taken() -> None:
    with pytest.raises(PyTaskException, match=r"a client of redis\.asyncio, but tasks run in greenlets"):
        PyTask(redis.asyncio.Redis())
    assert PyTask("valkeys://localhost:1").redis.connection_pool.connection_kwargs["port"] == 1
