"""F29 to F32: what nobody should send, more than fits, names that only some know, and everybody at once."""

# ruff: noqa: ARG005 - what makes bad data has one signature, and some of it needs no dice

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytask_core import PayloadTooLarge
from tests.faults.numbers import FRESH, SCALE
from tests.faults.trial import Trial
from tests.support.waiting import wait_until

LARGE = 64 * 1024 * 1024


def test_malformed_records_are_parked_with_a_reason_and_harm_nobody(stage: Callable[[], Trial]) -> None:
    """F29: fuzzed data, types and ids among tasks that are well. In full: ``make faults SCALE=20``."""
    dice = random.Random(29)
    with stage() as trial:
        host = trial.host()
        pids = host.pids()
        raw = trial.server.client()
        bad = [f"bad-{number}{dice.choice(['', '{x}', chr(10), chr(0), ' ', 'é'])}" for number in range(150 * SCALE)]
        trial.note("hopeless", bad)
        began = time.monotonic()
        for number, task_id in enumerate(bad):
            raw.hset(trial.keys.task(task_id), mapping={"task": "faults/picky", "data": dice.choice(BAD)(dice)})
            raw.lpush(trial.keys.new_queue, task_id)
            if number % 3 == 0:
                wrong = f"wrong-{number}"
                dice.choice(WRONG)(raw, trial.keys.task(wrong))
                raw.lpush(trial.keys.new_queue, wrong)
            if number % 2:
                trial.short(1, f"good-{number}")
        trial.wait_state(bad, "EXCEPTION", timeout=20 + 2 * SCALE)
        assert time.monotonic() - began < 10 * SCALE
        assert all(json.loads(trial.output(each)) for each in bad), "each with its reason"
        good = [each for each in trial.book.accepted if each.startswith("good")]
        trial.wait_state(good, "SUCCESS")
        assert host.pids() == pids, "nobody died"
        for key in list(raw.scan_iter(match=trial.keys.task("wrong-*"))):
            raw.delete(key)  # they were passed over and left as they are
        trial.expected = ["EXCEPTION", "Traceback", "The exception handler"]
    assert trial.report.counts["ids that could not run"] == len(bad)
    assert trial.report.counts["ends"] == len(good)


def _bytes(dice: random.Random) -> bytes:
    return dice.randbytes(dice.randint(1, 200))


#: What makes data that nobody can use.
BAD: list[Callable[[random.Random], bytes | str]] = [
    _bytes,
    lambda dice: b"{" + _bytes(dice),
    lambda dice: json.dumps({"what": dice.random()})[: dice.randint(1, 8)],
    lambda dice: json.dumps([dice.random()] * dice.randint(0, 5)),
    lambda dice: '{"what": NaN}',
    lambda dice: '{"what": ' + "9" * dice.randint(4_400, 6_000) + "}",
    lambda dice: "[" * dice.randint(1, 1_000_000),
    lambda dice: '{"what": 1, "what": 2}',
    lambda dice: json.dumps({f"\u0000{dice.random()}": None}),
    lambda dice: json.dumps({"self": 1}),
    lambda dice: '"\\ud800"',
    lambda dice: "",
]

#: What stands where a hash should.
WRONG: list[Callable[[Any, str], object]] = [
    lambda redis, key: redis.set(key, "text"),
    lambda redis, key: redis.rpush(key, "a", "list"),
    lambda redis, key: redis.sadd(key, "a", "set"),
    lambda redis, key: None,  # nothing at all
]


def test_what_is_too_large_is_refused_where_it_is_made(stage: Callable[[], Trial]) -> None:
    """F30: 64 MiB as data, output and event."""
    with stage() as trial:
        trial.host()
        with pytest.raises(PayloadTooLarge, match=r"the data of 'soak/short' has 67,108,\d+ bytes"):
            trial.helpers.start_task("soak/short", "large-data", fate="x" * LARGE)
        assert list(trial.redis.scan_iter(match=trial.keys.task("large*"))) == []
        ids = trial.start(
            ("faults/large", {"size": LARGE, "event": False}, "large-output"),
            ("faults/large", {"size": LARGE, "event": True}, "large-event"),
            hopeless=True,
        )
        trial.wait_state(ids, "EXCEPTION")
        for task_id, what in zip(ids, ["the output", "the event 'large'"], strict=True):
            assert what in trial.output(task_id)
            assert "PayloadTooLarge" in trial.output(task_id)
        trial.wait_state(trial.short(10), "SUCCESS")
        trial.expected = ["EXCEPTION", "Traceback", "The exception handler"]


def test_a_name_that_only_new_workers_know_waits_for_one_of_them_half_way_through_a_deployment(
    stage: Callable[[], Trial],
) -> None:
    """F31: two versions side by side; one that only a worker knows which is not there yet waits, parked."""
    with stage() as trial:
        trial.host()
        new = trial.host(environ={FRESH: "yes"})
        ids = trial.start(*(("faults/fresh", {}, f"fresh-{number}") for number in range(40)))
        trial.wait_state(ids, "SUCCESS")
        assert {trial.runs(each)[0].pid for each in ids} <= set(new.pids())
        assert trial.said("which this worker does not know") > 0
        assert new.stop() == 0
        trial.start(("faults/fresh", {}, "too-early"))
        wait_until(lambda: trial.helpers.parked_tasks() == {"faults/fresh": 1}, 5, "it to be parked")
        trial.host(environ={FRESH: "yes"})
        trial.wait_state(["too-early"], "SUCCESS")
        assert trial.helpers.parked_tasks() == {}
        trial.expected = ["Traceback", "The exception handler"]
    assert trial.report.counts["ends"] == len(ids) + 1


def test_a_hundred_clients_that_start_one_id_start_it_once(stage: Callable[[], Trial]) -> None:
    """F32: the same id at the same moment."""
    with stage() as trial:
        gate = threading.Barrier(100)
        trial.note("tried", ["same"])

        def start() -> None:
            gate.wait()
            trial.helpers.start_task("soak/forever", "same")

        threads = [threading.Thread(target=start) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        trial.note("accepted", ["same"])
        assert trial.redis.lrange(trial.keys.new_queue, 0, -1) == ["same"]
        trial.host()
        trial.wait_running(["same"])
        assert trial.helpers.queue_lengths()["new"] == 0
        assert len(trial.runs("same")) == 1


def test_commands_raced_at_random_leave_a_history_that_is_legal(stage: Callable[[], Trial]) -> None:
    """F32: start, stop, restart, reload and remove of few ids by many clients at once.

    The model is that of ``tests/store/transitions/test_conservation.py``; here they come from all sides.
    """
    with stage() as trial:
        trial.host()
        ids = [f"raced-{number}" for number in range(4)]
        trial.note("tried", ids)
        trial.note("accepted", ids)
        until = time.monotonic() + 2 * SCALE
        done = []

        def meddle(seed: int) -> None:
            dice = random.Random(seed)
            while time.monotonic() < until:
                task_id, verb = dice.choice(ids), dice.choice(["start", "stop", "restart", "reload", "remove"])
                if verb == "start":
                    trial.helpers.start_task(dice.choice(["soak/short", "soak/forever"]), task_id)
                else:
                    trial.command(verb, task_id)
                done.append(verb)

        threads = [threading.Thread(target=meddle, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) > 200
