"""What comes in from Redis is bounded: bytes of data, and numbers that others wrote."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from pytask_core.store import worker as rooms
from tests.store.conftest import Desk
from tests.support.servers.redis_server import is_valkey

MIB = 1024 * 1024


def test_data_over_the_cap_is_not_read_and_its_size_is_told(desk: Desk) -> None:
    desk.push("big", data='"' + "x" * MIB + '"')
    desk.push("small", data='{"a": 1}')
    claims = desk.drain(desk.worker())
    assert {task.id: task.data for task in claims.tasks} == {"big": MIB + 2, "small": '{"a": 1}'}


def test_data_over_the_cap_is_not_read_again_by_a_reload_or_a_claim_whose_answer_was_lost(desk: Desk) -> None:
    desk.push("big", data='"' + "x" * MIB + '"')
    worker = desk.worker()
    token, _ = desk.claim(worker, insist=True)
    (again,) = worker.claim(token, 10, again=True).tasks
    fresh = worker.reload("big", token)
    assert again.data == MIB + 2
    assert fresh is not None
    assert fresh.data == MIB + 2


def test_many_large_tasks_do_not_come_in_one_reply_and_keep_their_order(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "REPLY", 3 * MIB)
    ids = [f"t{n}" for n in range(10)]
    desk.push(*ids, data='"' + "x" * (MIB - 2) + '"')
    worker = desk.worker()
    if desk.atomic:
        _, claims = desk.claim(worker, insist=True)
        assert [task.id for task in claims.tasks] == ids[:3]
        assert claims.left == 7
        assert desk.new == ids[3:]
    claims = desk.drain(worker)
    assert [task.id for task in claims.tasks][-7:] == ids[-7:]
    assert desk.new == []
    assert desk.running == 10
    assert desk.held() == set(ids)


@pytest.mark.parametrize("since", ["-inf", "inf", "nan", "-1e300", "1e999", "-5", "1", "99999999999", "abc", ""])
def test_a_time_that_is_none_is_not_counted_as_the_wait_of_a_task(desk: Desk, since: str) -> None:
    desk.push("a")
    desk.redis.hset(desk.keys.task("a"), mapping={"state": "WAIT", "last_update": since})
    claims = desk.drain(desk.worker())
    assert [task.id for task in claims.tasks] == ["a"]
    assert claims.waited == {}


@pytest.mark.parametrize("since", ["inf", "nan", "1e999", "99999999999", "-inf", "abc"])
def test_a_task_whose_last_update_is_no_time_is_found_by_a_monitor_once_it_is_stale(desk: Desk, since: str) -> None:
    key = desk.keys.task("a")
    desk.redis.hset(key, mapping={"task": "job", "state": "RUNNING", "last_update": since})
    desk.redis.sadd(desk.keys.task_set, "a")
    if desk.keeper.sweep(60).told == []:
        # Written anew as now.
        assert abs(float(desk.field("a", "last_update") or 0) - float(desk.redis.time()[0])) < 5
        desk.redis.hset(key, "last_update", float(desk.redis.time()[0]) - 61)
        assert desk.keeper.sweep(60).told == [("a", "WAIT")]
    assert desk.state("a") == "WAIT"


@pytest.mark.parametrize("field", ["round", "cursor"])
@pytest.mark.parametrize("value", ["abc", "", "1.5.2"])
def test_what_monitors_note_and_is_no_number_is_mended(desk: Desk, field: str, value: str) -> None:
    if (field, value) == ("cursor", "") and not is_valkey():
        pytest.skip("Redis 7.0 takes an empty cursor for 0")
    desk.redis.hset(desk.keys.monitor, field, value)
    with pytest.raises(ResponseError):
        desk.keeper.overdue(10, 60) if field == "round" else desk.keeper.sweep(60)
    assert desk.keeper.mend() == [field]
    desk.redis.hdel(desk.keys.monitor, "round")
    assert desk.keeper.overdue(10, 60) == {}
    assert desk.keeper.sweep(60).last
    assert desk.keeper.mend() == []
