"""finish.lua and emit.lua: the one end of a task, and its events before it."""

from __future__ import annotations

import json

import pytest
import redis

from pytask_core.store import Ending, Event
from tests.store.conftest import Desk


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "EXCEPTION"])
def test_an_end_is_written_once_with_output_event_and_move_to_the_end_queue(desk: Desk, state: str) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    listener = desk.listen("a")

    assert desk.end(worker, "a", token, state, '{"x": [1, "\\u00e9"]}') == []

    assert (desk.state("a"), desk.field("a", "output")) == (state, '{"x": [1, "\\u00e9"]}')
    assert (desk.ended, desk.active, desk.held(), desk.running) == (["a"], set(), set(), 0)
    assert listener.heard() == [{"event": state.lower(), "data": {"x": [1, "é"]}}]


def test_an_end_sent_twice_is_harmless(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    listener = desk.listen("a")

    assert desk.end(worker, "a", token) == []
    assert desk.end(worker, "a", token) == []

    assert desk.ended == ["a"]
    assert desk.running == 0
    assert len(listener.heard()) == 1


def test_an_end_with_a_foreign_token_is_refused_and_writes_nothing(desk: Desk) -> None:
    worker = desk.worker()
    desk.run(worker, "a")
    before = desk.redis.hgetall(desk.keys.task("a"))
    listener = desk.listen("a")

    assert desk.end(desk.worker("w2"), "a", "w2:1") == ["a"]
    assert desk.end(worker, "a", "w1:999") == ["a"]

    assert desk.redis.hgetall(desk.keys.task("a")) == before
    assert (desk.ended, desk.active, listener.heard()) == ([], {"a"}, [])


@pytest.mark.parametrize("what", ["removed", "stopped", "ended otherwise", "a string"])
def test_an_end_of_a_task_that_is_no_longer_running_is_refused(desk: Desk, what: str) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a", "b")
    if what == "removed":
        desk.client.remove("a")
    elif what == "stopped":
        worker.report([], [], [("a", token)], [])
    elif what == "ended otherwise":
        desk.end(worker, "a", token, "ERROR")
    else:
        desk.redis.delete(desk.keys.task("a"))
        desk.redis.set(desk.keys.task("a"), "something")

    ends = [Ending("a", token, "SUCCESS", "1"), Ending("b", token, "SUCCESS", "2")]
    assert worker.report([], ends, [], []) == ["a"]

    assert desk.state("b") == "SUCCESS", "its neighbour in the batch ends all the same"
    assert desk.ended.count("a") == (what == "ended otherwise")


def test_an_ended_task_without_cleanup_stays_in_the_task_set(desk: Desk) -> None:
    worker = desk.worker()
    desk.start("a", cleanup=False)
    token, _ = desk.claim(worker)

    desk.end(worker, "a", token)

    assert (desk.ended, desk.active, desk.held(), desk.running) == ([], {"a"}, set(), 0)


def test_a_task_that_ends_while_a_restart_is_recorded_runs_again(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    listener = desk.listen("a")
    desk.client.restart("a")

    assert desk.end(worker, "a", token) == []
    assert desk.end(worker, "a", token) in ([], ["a"])

    assert (desk.state("a"), desk.new, desk.ended, desk.active) == ("WAIT", ["a"], [], set())
    assert (desk.field("a", "command"), desk.field("a", "output"), listener.heard()) == (None, None, [])


@pytest.mark.parametrize("command", ["stop", "reload"])
def test_a_task_that_ends_while_a_stop_or_reload_is_recorded_has_ended(desk: Desk, command: str) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    (desk.client.stop if command == "stop" else desk.client.ask_reload)("a")

    desk.end(worker, "a", token)

    assert (desk.state("a"), desk.ended, desk.field("a", "command")) == ("SUCCESS", ["a"], None)


def test_hundreds_of_ends_go_in_one_batch(desk: Desk) -> None:
    worker = desk.worker()
    ids = [f"id-{number}" for number in range(500)]
    token = desk.run(worker, *ids)

    assert worker.report([], [Ending(each, token, "SUCCESS", "1") for each in ids], [], []) == []

    assert (desk.ended, desk.running, desk.active) == (ids, 0, set())


@pytest.mark.parametrize("which", ["end_queue", "task_set", "new_queue"])
def test_a_string_at_a_shared_key_refuses_the_end_which_passes_when_it_is_gone(desk: Desk, which: str) -> None:
    key = vars(desk.keys)[which]
    worker = desk.worker()
    token = desk.run(worker, "a")
    members = desk.active
    desk.redis.delete(key)
    desk.redis.set(key, "oops")

    if desk.atomic or which != "new_queue":  # in steps an end does not come near the new queue
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            desk.end(worker, "a", token)
    if desk.atomic:
        assert desk.state("a") == "RUNNING"

    desk.redis.delete(key)
    desk.redis.sadd(desk.keys.task_set, *members)
    assert desk.end(worker, "a", token) == []
    assert (desk.state("a"), desk.ended) == ("SUCCESS", ["a"])


def test_events_of_the_owner_are_published_in_order_before_the_end(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    listener = desk.listen("a")
    events = [Event("a", token, json.dumps({"event": f"e{number}", "data": number})) for number in range(100)]

    worker.report(events, [Ending("a", token, "SUCCESS", "1")], [], [])

    assert [each["event"] for each in listener.heard()] == [*[f"e{number}" for number in range(100)], "success"]


def test_events_come_before_the_end_also_where_the_server_has_never_seen_one(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a", "b")
    desk.end(worker, "b", token)
    listener = desk.listen("a")

    worker.report([Event("a", token, '{"event": "e", "data": 1}')], [Ending("a", token, "SUCCESS", "1")], [], [])

    assert [each["event"] for each in listener.heard()] == ["e", "success"]


def test_events_of_a_copy_that_lost_its_task_or_has_ended_it_are_refused(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a", "b")
    desk.end(worker, "b", token)
    # Each where its events come from: another node may pass on the end of b only now.
    listeners = [desk.listen("a"), desk.listen("b")]

    worker.report([Event("a", "w1:999", '{"event": "e"}'), Event("b", token, '{"event": "late"}')], [], [], [])

    assert [each.heard() for each in listeners] == [[], []]
