"""What nobody should send: each gets a sentence, and then a neighbour finishes."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from pytask_core import InvalidTask, PayloadTooLarge, Task
from tests.support.core_apps import Echo, Forever
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


class Narrow(Task):
    """Takes a whole number and nothing else."""

    NAME = "narrow"

    def __init__(self, number: int) -> None:
        self.number = number

    def start(self) -> int:
        return self.number + 1


def neighbour_finishes(live: Live) -> None:
    """A task that was sent after the bad one ends well."""
    assert live.state(live.run("echo", text="hi")) == "SUCCESS"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("not json", "is no JSON"),
        ("[1, 2]", "must be a JSON object"),
        ("7", "must be a JSON object"),
        ('"text"', "must be a JSON object"),
        ("true", "must be a JSON object"),
        ('{"number": NaN}', "NaN is no JSON"),
        ('{"number": -Infinity}', "-Infinity is no JSON"),
        ('{"number": 1', "is no JSON"),
        ('{"number": ' + "9" * 5_000 + "}", "is no JSON"),
        ("[" * 1_000_000, "is no JSON"),
        ('{"number": ' * 90_000, "is no JSON"),
        (b'{"number": "\xff\xfe"}', "not UTF-8"),
        (b"\x00\x01", "is no JSON"),
        ('{"other": 1}', "unexpected keyword argument"),
        ("{}", "missing 1 required positional argument"),
        ("", "missing 1 required positional argument"),
        ("null", "missing 1 required positional argument"),
        ('{"self": 1}', "multiple values for argument"),
        ('{"number": "text"}', "can only concatenate"),
        ('{"number": 1, "": 2}', "unexpected keyword argument"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_data_that_cannot_be_used_is_an_exception_that_says_why(live: Live, data: str | bytes, says: str) -> None:
    live.worker(Narrow, Echo)
    live.push("bad", "narrow", data)

    live.until("bad", "EXCEPTION")

    assert says in json.loads(live.output("bad"))
    neighbour_finishes(live)


def test_no_data_at_all_means_no_arguments(live: Live) -> None:
    live.worker(Echo)
    for task_id, data in (("empty", ""), ("null", "null"), ("object", "{}")):
        live.push(task_id, "echo", data)
    live.redis.hset(live.keys.task("none"), "task", "echo")
    live.redis.lpush(live.keys.new_queue, "none")

    for task_id in ("empty", "null", "object", "none"):
        live.until(task_id, "SUCCESS")
        assert live.output(task_id) == "{}"


class Giver(Task):
    """Gives what JSON cannot carry, as output or as event."""

    NAME = "giver"

    def __init__(self, what: str, event: bool = False) -> None:
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        ring: list[Any] = []
        ring.append(ring)
        self.value = {
            "object": object(),
            "nan": float("nan"),
            "inf": [float("inf")],
            "set": {1, 2},
            "bytes": b"x",
            "ring": ring,
            "deep": deep,
            "key": {(1, 2): 3},
            "large": "x" * 1_100_000,
        }[what]
        self.event = event

    def start(self) -> Any:
        if self.event:
            self.emit("given", self.value)
            return None
        return self.value


@pytest.mark.parametrize("event", [False, True], ids=["output", "event"])
@pytest.mark.parametrize("what", ["object", "nan", "inf", "set", "bytes", "ring", "deep", "key", "large"])
def test_what_json_cannot_carry_is_an_exception_that_names_it(live: Live, what: str, *, event: bool) -> None:
    live.worker(Giver, Echo)

    task_id = live.run("giver", what=what, event=event)

    assert live.state(task_id) == "EXCEPTION"
    words = json.loads(live.output(task_id))
    assert ("the event 'given'" if event else "the output") in words
    assert ("more than max_payload=1,048,576" if what == "large" else "of type") in words
    neighbour_finishes(live)


def test_a_task_may_catch_what_emit_raises_and_go_on(live: Live) -> None:
    class Careful(Task):
        NAME = "careful"

        def start(self) -> str:
            for bad in (object(), "x" * 1_100_000):
                try:
                    self.emit("bad", bad)
                except ValueError:
                    self.emit("caught")
            return "done"

    live.worker(Careful)
    listener = live.listen("a")
    live.helpers.start_task("careful", task_id="a")

    assert [each["event"] for each in listener.until("success")] == ["caught", "caught", "success"]


def test_helpers_refuse_what_cannot_be_started_and_nothing_is_written(live: Live) -> None:
    with pytest.raises(PayloadTooLarge, match="the data of 'echo'"):
        live.helpers.start_task("echo", text="x" * 1_100_000)
    for bad in (object(), float("nan"), {1}):
        with pytest.raises(InvalidTask, match="the data of 'echo'"):
            live.helpers.start_task("echo", value=bad)
    with pytest.raises(InvalidTask, match="not empty"):
        live.helpers.start_task("echo", task_id="")
    with pytest.raises(InvalidTask, match="not empty"):
        live.helpers.start_task("")
    with pytest.raises(InvalidTask, match="cannot be written as UTF-8"):
        live.helpers.start_task("echo", task_id="\ud800")
    live.redis.set(live.keys.task("string"), "x")
    with pytest.raises(InvalidTask, match=f"'{re.escape(live.keys.task('string'))}'"):
        live.helpers.start_task("echo", task_id="string")

    assert list(live.redis.scan_iter()) == [live.keys.task("string")]


@pytest.mark.parametrize("kind", ["string", "list", "set"])
def test_another_type_at_a_tasks_key_is_passed_over_with_a_warning(
    live: Live, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    live.redis.execute_command({"string": "SET", "list": "LPUSH", "set": "SADD"}[kind], live.keys.task("bad"), "x")
    live.redis.lpush(live.keys.new_queue, "bad", "nothing")

    live.worker(Echo)

    neighbour_finishes(live)

    def said(task_id: str) -> bool:
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        return any(repr(task_id) in each and "no hash" in each for each in warnings)

    assert said("bad")
    # It is looked at again for two seconds.
    wait_until(lambda: said("nothing"), 10, "a line about the id without a hash")
    assert live.redis.type(live.keys.task("bad")) == kind
    assert live.redis.exists(live.keys.task("nothing")) == 0


def test_a_running_tasks_key_that_becomes_another_type_stops_its_copy_only(live: Live) -> None:
    Forever.forget()
    live.worker(Forever, Echo, update_task_interval=0.2, task_timeout=20)
    live.helpers.start_task("forever", task_id="bad")
    wait_until(lambda: Forever.running.get("bad") == 1)

    live.redis.delete(live.keys.task("bad"))
    live.redis.set(live.keys.task("bad"), "x")

    wait_until(lambda: Forever.running["bad"] == 0)
    neighbour_finishes(live)


@pytest.mark.parametrize("which", ["new_queue", "task_set", "end_queue"])
def test_a_string_at_a_shared_key_is_said_and_survived_and_nothing_is_lost(
    live: Live, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    key = vars(live.keys)[which]
    live.errors_expected = True
    live.worker(Echo)
    live.push("a", "echo")
    live.until("a", "SUCCESS")
    live.redis.delete(key)
    live.redis.set(key, "oops")
    live.redis.hset(live.keys.task("b"), mapping={"task": "echo", "data": "{}"})
    if key != live.keys.new_queue:
        live.redis.lpush(live.keys.new_queue, "b")
    wait_until(lambda: any("WRONGTYPE" in record.getMessage() for record in caplog.records))
    # In steps its end may stand in the hash already; its id stays in the worker's hands.
    assert live.state("b") in {None, "RUNNING"} or not live.atomic

    live.redis.delete(key)
    if key == live.keys.new_queue:
        live.redis.lpush(live.keys.new_queue, "b")

    live.until("b", "SUCCESS")
    neighbour_finishes(live)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert all(record.exc_info is None for record in errors), "one line, no traceback"


ODD = ["a b", "a\nb", "{a}", "}{", "a\0b", "\U0001f600", "*?[x]", "y" * 10_000, "x-control", "%s%d", "'\"\\", "\udcff"]


def test_odd_ids_run_and_obey_and_end_like_any_other(live: Live) -> None:
    Forever.forget()
    worker = live.worker(Echo, Forever)
    for task_id in ODD:
        assert live.helpers.start_task("forever", task_id=task_id) == task_id
    wait_until(lambda: sum(Forever.running.values()) == len(ODD))

    for task_id in ODD:
        assert live.helpers.reload_task(task_id, wait=5)
        assert live.helpers.stop_task(task_id, wait=5)
        live.helpers.start_task("echo", task_id=task_id, id=[task_id.encode("utf-8", "replace").decode()])
    wait_until(lambda: sorted(live.helpers.get_end_task_ids()) == sorted(ODD))

    assert {live.helpers.get_task(task_id, "state") for task_id in ODD} == {"SUCCESS"}
    neighbour_finishes(live)
    live.end(worker)


def test_events_of_an_odd_id_are_heard(live: Live) -> None:
    live.worker(Echo)
    for number, task_id in enumerate(ODD):
        listener = live.listen(task_id)
        live.helpers.start_task("echo", task_id=task_id, number=number)
        assert listener.until("success") == [{"event": "success", "data": {"number": number}}]


def test_a_name_that_is_missing_or_too_long_to_be_one_is_an_exception(live: Live) -> None:
    live.worker(Echo)
    live.push("long", "x" * 501)
    live.push("empty", "")
    live.redis.hset(live.keys.task("none"), "data", "{}")
    live.redis.lpush(live.keys.new_queue, "none")

    for task_id, words in (("long", "501 characters"), ("empty", "no field 'task'"), ("none", "no field 'task'")):
        live.until(task_id, "EXCEPTION")
        assert words in live.output(task_id)
    neighbour_finishes(live)


def test_tasks_of_odd_names_wait_for_a_worker_that_knows_them(live: Live) -> None:
    live.worker(Echo)
    live.push("odd", "na me\n\U0001f600")
    live.redis.execute_command("HSET", live.keys.task("bytes"), "task", b"\xff\xfe")
    live.redis.lpush(live.keys.new_queue, "bytes")

    wait_until(lambda: sorted(live.helpers.get_parked_task_ids()) == ["bytes", "odd"])
    assert live.helpers.parked_tasks() == {"na me\n\U0001f600": 1, "\udcff\udcfe": 1}
    neighbour_finishes(live)


def test_a_worker_that_ends_while_a_string_stands_at_the_queue_says_so_and_hands_back_once_it_is_gone(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    Forever.forget()
    live.errors_expected = True
    worker = live.worker(Forever)
    task_id = live.helpers.start_task("forever")
    wait_until(lambda: Forever.running.get(task_id) == 1)
    live.redis.set(live.keys.new_queue, "oops")

    worker.stop()
    wait_until(lambda: any("WRONGTYPE" in record.getMessage() for record in caplog.records))
    live.redis.delete(live.keys.new_queue)

    live.greenlets[worker].join(10)
    assert live.greenlets[worker].exception is None
    assert worker.holds_nothing
    assert live.where.count == {task_id: 1}
    assert live.where.new == [task_id]


def test_data_over_max_payload_that_another_program_pushed_ends_the_task_with_size_and_cap(live: Live) -> None:
    live.worker(Echo, max_payload=1000)
    live.push("big", "echo", json.dumps({"text": "x" * 2000}))
    live.until("big", "EXCEPTION")
    assert "the data of the task has 2,012 bytes of JSON, more than max_payload=1,000" in live.output("big")
    live.push("small", "echo", json.dumps({"text": "x"}))
    live.until("small", "SUCCESS")
