"""pass_on.lua, unpark.lua, expire.lua and their like in many slots: ids whose task name no worker knows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis

from pytask_core.store import Misplaced, PassedOn
from tests.store.conftest import Desk


def nothing_is_parked(desk: Desk) -> bool:
    keys = desk.keys
    return not any(desk.redis.exists(key) for key in (keys.parked, keys.parked_names, keys.parked_under("other")))


def run_all(desk: Desk, name: str = "w9") -> list[str]:
    """A worker that knows the name registers, opens and claims; the ids in that order."""
    worker = desk.worker(name, ("job", "other"))
    for parked in worker.parked.among(["job", "other"]):
        worker.parked.open_all(parked)
    return [task.id for task in desk.drain(worker).tasks]


# Where they stand


def test_parked_ids_stand_nowhere_else_and_come_back_to_the_front_in_their_order(desk: Desk) -> None:
    ids = [f"id-{number}" for number in range(1200)]
    desk.park(*ids)
    desk.start("last")

    assert (desk.new, desk.where.count) == (["last"], dict.fromkeys([*ids, "last"], 1))
    assert desk.client.parked.counts(10) == {"other": 1200}
    assert desk.client.parked.ids("other") == ids
    assert sorted(desk.client.parked.ids()) == sorted(ids)
    assert desk.client.lengths() == {"new": 1, "active": 0, "end": 0, "parked": 1200}

    count, is_all = desk.client.parked.open("other")
    assert (count, is_all) == (500, False), "the server is held up for one batch at a time"
    assert run_all(desk) == [*ids, "last"]
    assert nothing_is_parked(desk)


def test_the_first_of_a_name_is_told_from_the_others(desk: Desk) -> None:
    worker = desk.worker()
    tokens = {each: desk.run(worker, each) for each in ("a", "b", "c")}
    told = worker.pass_on([Misplaced(each, tokens[each], name) for each, name in zip("abc", "xxy", strict=True)], 60)
    assert [(each.parked, each.first) for each in told] == [(True, True), (True, False), (True, True)]


def test_each_of_a_batch_goes_where_it_belongs(desk: Desk) -> None:
    worker = desk.worker()
    desk.worker("w2", ("known",))
    tokens = {each: desk.run(worker, each) for each in ("a", "b", "c", "d")}
    desk.client.stop("c")

    told = worker.pass_on(
        [Misplaced(each, tokens[each], "known" if each == "a" else "other") for each in "abc"]
        + [Misplaced("d", "w1:999", "other")],
        60,
    )

    nothing = PassedOn("", parked=False)
    assert told == [PassedOn("w2", parked=False), PassedOn("", parked=True, first=True), nothing, nothing]
    where = desk.where
    assert (where.inboxes, where.parked) == (["a"], ["b"])
    assert [desk.state(each) for each in "abcd"] == ["WAIT", "WAIT", "STOPPED", "RUNNING"]
    assert (desk.active, desk.held()) == ({"c", "d"}, {"d"})


@pytest.mark.parametrize("name", ["", "{}", "a:b", "a b\n", "ü\udcff", "x-names", "*"])
def test_a_name_may_have_any_characters(desk: Desk, name: str) -> None:
    desk.start("a", name=name or "x")
    worker = desk.worker("stranger")
    token, _ = desk.claim(worker)
    desk.pass_on(worker, "a", token, name)

    assert desk.client.parked.counts(10) == {name: 1}
    assert worker.parked.among(["nothing", name]) == [name]
    assert worker.parked.open_all(name) == 1
    assert desk.new == ["a"]


# What is done to them


def test_a_parked_task_is_stopped_and_can_be_restarted(desk: Desk) -> None:
    desk.park("a")

    assert desk.client.stop("a") == 1
    assert desk.client.stop("a") == 0
    assert (desk.state("a"), desk.active, nothing_is_parked(desk)) == ("STOPPED", {"a"}, True)
    assert run_all(desk) == []

    assert desk.client.restart("a") == 1
    assert (desk.new, desk.active) == (["a"], set())
    assert run_all(desk, "w8") == ["a"]


def test_another_programs_push_starts_what_was_stopped_while_it_was_parked(desk: Desk) -> None:
    desk.park("a")
    desk.client.stop("a")
    desk.redis.lpush(desk.keys.new_queue, "a")
    assert run_all(desk) == ["a"]


def test_a_parked_task_is_removed_whole(desk: Desk) -> None:
    desk.park("a", "b")

    assert desk.client.remove("a") is True

    assert desk.redis.exists(desk.keys.task("a"), desk.keys.spare) == 0
    assert desk.where.count == {"b": 1}
    desk.start("a")
    assert run_all(desk) == ["b", "a"]


@pytest.mark.parametrize("name", ["other", "job"])
def test_a_parked_task_that_is_started_again_has_the_new_name_and_data(desk: Desk, name: str) -> None:
    desk.park("a")

    assert desk.start("a", name=name, data='{"n": 2}') == [True]

    assert (desk.field("a", "task"), desk.field("a", "data"), desk.new) == (name, '{"n": 2}', ["a"])
    assert nothing_is_parked(desk)
    assert run_all(desk) == ["a"]


def test_a_parked_task_that_is_restarted_is_looked_at_again(desk: Desk) -> None:
    desk.park("a")
    assert desk.client.restart("a", ["ERROR"]) == 0
    assert desk.client.restart("a", ["WAIT"]) == 1
    assert (desk.new, nothing_is_parked(desk)) == (["a"], True)


def test_a_foreign_push_of_a_parked_id_runs_it_once(desk: Desk) -> None:
    desk.park("a")
    desk.redis.lpush(desk.keys.new_queue, "a")
    knowing = desk.worker("w2", ("other",))
    token, claims = desk.claim(knowing, insist=True)
    assert [task.id for task in claims.tasks] == ["a"]
    desk.end(knowing, "a", token)

    assert run_all(desk) == []
    assert nothing_is_parked(desk)


def test_what_was_parked_twice_under_two_names_stands_under_the_second(desk: Desk) -> None:
    desk.park("a")
    desk.redis.hset(desk.keys.task("a"), "task", "third")
    desk.redis.lpush(desk.keys.new_queue, "a")
    stranger = desk.worker("stranger")
    token, _ = desk.claim(stranger, insist=True)
    desk.pass_on(stranger, "a", token, "third")
    assert desk.client.parked.counts(10) == {"third": 1}


# Who knows the name


def test_no_id_goes_to_a_worker_whose_beat_lies_far_ahead_and_a_monitor_finds_that_worker(desk: Desk) -> None:
    """As another program wrote it, or a server left it whose clock was set back."""
    worker = desk.worker("w1")
    desk.worker("fake", ("other",))
    desk.redis.zadd(desk.keys.workers, {"fake": 4e12})
    token = desk.run(worker, "a")

    assert desk.pass_on(worker, "a", token).parked

    assert not desk.keeper.overdue(10, 60)
    assert desk.redis.zscore(desk.keys.workers, "fake") < 4e12
    desk.redis.zadd(desk.keys.workers, {"fake": desk.redis.zscore(desk.keys.workers, "fake") - 61_000})
    desk.redis.delete(desk.keys.monitor)
    assert list(desk.keeper.overdue(10, 60) or ()) == ["fake"]


def test_ids_that_were_passed_on_to_a_worker_that_dies_are_handed_back_and_parked(desk: Desk) -> None:
    worker = desk.worker("w1")
    desk.worker("w2", ("other",))
    token = desk.run(worker, "a")
    assert desk.pass_on(worker, "a", token).worker == "w2"

    desk.keeper.hand_back("w2")
    token, _ = desk.claim(worker, insist=True)
    assert desk.pass_on(worker, "a", token).parked
    assert run_all(desk) == ["a"]


def test_a_monitor_puts_back_what_is_parked_though_a_live_worker_knows_it(desk: Desk) -> None:
    desk.park("a")
    assert desk.keeper.parked_for_nothing(60) == []
    # It was frozen, so that it counted as gone, and beats again.
    desk.worker("w2", ("other",))
    assert desk.keeper.parked_for_nothing(60) == ["other"]
    desk.keeper.parked.open_all("other")
    assert (desk.new, desk.keeper.parked_for_nothing(60)) == (["a"], [])


def test_a_worker_tells_once_redis_knows_its_names_and_again_when_it_was_forgotten(desk: Desk) -> None:
    worker = desk.stores.worker(desk.redis, desk.redis, desk.keys, "w1")
    known: list[set[str]] = []
    worker.on_known = lambda: known.append(desk.redis.smembers(desk.keys.names("w1")))
    worker.register(["other"])
    assert known == [{"other"}]
    for forgotten in range(2, 6):
        desk.keeper.hand_back("w1")
        acts: list[Callable[[], object]] = [
            lambda: worker.renew([]),
            lambda: desk.claim(worker),
            lambda: worker.take(0.01),
            lambda: worker.register(["other"]),
        ]
        acts[forgotten - 2]()
        assert known == [{"other"}] * forgotten


# The race of one that parks and one that registers


class Killed(Exception):  # noqa: N818 - it is what happened
    """The process is gone: it sends nothing more."""


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Does an act, and something else just before its n-th packet is sent; returns how many were sent."""
    # redis-py 3 has one class less.
    client = getattr(redis.connection, "AbstractConnection", redis.connection.Connection)
    send = client.send_packed_command

    def run(act: Callable[[], object], at: dict[int, Callable[[], object]]) -> int:
        count = 0

        def hooked(self: Any, *args: Any, **how: Any) -> Any:
            nonlocal count
            count += 1
            if count in at:
                with monkeypatch.context() as patch:
                    patch.setattr(client, "send_packed_command", send)
                    at[count]()
            return send(self, *args, **how)

        with monkeypatch.context() as patch:
            patch.setattr(client, "send_packed_command", hooked)
            act()
        return count

    return run


def register(desk: Desk, name: str = "w2") -> None:
    """As the rooms of a worker do it: first it is known, and then it opens."""
    worker = desk.stores.worker(desk.redis, desk.redis, desk.keys, name)
    worker.on_known = lambda: [worker.parked.open_all(each) for each in worker.parked.among(["other"])]
    worker.register(["other"])


def is_in_reach(desk: Desk) -> bool:
    """Whether the worker w2, which knows the name, gets the task without anybody's help."""
    where = desk.where
    return "a" in where.new or "a" in desk.redis.lrange(desk.keys.inbox("w2"), 0, -1)


def die(*_: object) -> None:
    raise Killed


def test_a_worker_that_registers_while_another_parks_gets_the_task(desk: Desk, between: Callable[..., int]) -> None:
    for number in itertools.count(1):
        desk.redis.flushall()
        worker = desk.worker("w1")
        token = desk.run(worker, "a")
        sent = between(partial(desk.pass_on, worker, "a", token), {number: partial(register, desk)})
        if sent < number:
            break
        assert is_in_reach(desk), f"registered before packet {number}: {desk.where.count}"
        assert nothing_is_parked(desk)
    assert number > 1


def test_a_worker_that_parks_while_another_registers_does_not_strand_the_task(
    desk: Desk, between: Callable[..., int]
) -> None:
    for number in itertools.count(1):
        desk.redis.flushall()
        worker = desk.worker("w1")
        token = desk.run(worker, "a")
        if between(partial(register, desk), {number: partial(desk.pass_on, worker, "a", token)}) < number:
            break
        assert is_in_reach(desk), f"parked before packet {number}: {desk.where.count}"
    assert number > 2


@pytest.mark.parametrize("who", ["parks", "opens"])
def test_whoever_is_killed_while_it_parks_or_opens_strands_nothing(
    desk: Desk, between: Callable[..., int], who: str
) -> None:
    """The other one comes before or in between; then a sibling hands back and a Monitor looks, as they do in time."""
    for death in itertools.count(1):
        for number in range(1, death + 1):
            desk.redis.flushall()
            worker = desk.worker("w1")
            token = desk.run(worker, "a")
            acts = {"parks": partial(desk.pass_on, worker, "a", token), "opens": partial(register, desk)}
            act = acts.pop(who)
            [other] = acts.values()

            def meanwhile(other: Callable[[], object] = other, *, dies: bool = number == death) -> None:
                other()
                if dies:
                    raise Killed

            try:
                sent = between(act, {death: die, number: meanwhile})
            except Killed:
                sent = death
            if sent < death:
                break
            assert desk.where.count["a"] >= 1
            mend(desk, "w1" if who == "parks" else "w2")
            assert end_all(desk) == ["a"], f"the one that {who} was killed before packet {death}, other: {number}"
            assert nothing_is_parked(desk)
        if sent < death:
            break
    assert death > 1


def mend(desk: Desk, dead: str) -> None:
    """What happens in time without anybody's help, where no other worker that knows the name starts."""
    desk.keeper.hand_back(dead, died=False)
    stranger = desk.worker("w7")
    for _ in range(2):
        token, claims = desk.claim(stranger, insist=True)
        for task in claims.tasks:
            desk.pass_on(stranger, task.id, token)
    for name in desk.keeper.parked_for_nothing(60):
        desk.keeper.parked.open_all(name)


def end_all(desk: Desk) -> list[str]:
    """Workers that know the name start, and are alone; which ids they run."""
    register(desk, "w3")
    return [task.id for each in ("w2", "w3") for task in desk.drain(desk.worker(each, ("other",))).tasks]


# The end


def test_what_is_parked_for_too_long_ends_as_an_exception(desk: Desk) -> None:
    desk.park("a", "b", "c")
    desk.park("kept", cleanup=False)
    heard = desk.listen("a")
    desk.client.stop("b")
    assert desk.keeper.parked_too_long(3600) == []
    assert desk.keeper.end_parked("other", 3600, '"x"') == (0, False)
    assert desk.keeper.parked_too_long(0) == ["other"]

    assert desk.keeper.end_parked("other", 0, '"nobody"') == (3, False), "and what was stopped has not"

    assert [desk.state(each) for each in ("a", "b", "c", "kept")] == ["EXCEPTION", "STOPPED", "EXCEPTION", "EXCEPTION"]
    assert desk.field("a", "output") == '"nobody"'
    assert (desk.ended, desk.active) == (["a", "c"], {"b", "kept"})
    assert nothing_is_parked(desk)
    assert heard.heard() == [{"event": "exception", "data": "nobody"}]
    assert run_all(desk) == []


def test_only_what_is_parked_long_enough_ends_by_the_servers_clock(desk: Desk) -> None:
    desk.park("old", "young")
    since = desk.redis.zscore(desk.keys.parked_under("other"), "old")
    desk.redis.zadd(desk.keys.parked_under("other"), {"old": since - 100_000_000})
    desk.redis.zadd(desk.keys.parked_names, {"other": since - 100_000_000})

    assert desk.keeper.parked_too_long(99) == ["other"]
    assert desk.keeper.end_parked("other", 99, '"x"') == (1, False)

    assert desk.where.count == {"old": 1, "young": 1}
    assert desk.state("young") == "WAIT"
    assert desk.keeper.parked_too_long(99) == []


def test_more_than_a_batch_ends_in_several(desk: Desk) -> None:
    desk.park(*(str(number) for number in range(600)))
    assert desk.keeper.end_parked("other", 0, '"x"') == (500, True)
    assert desk.keeper.end_parked("other", 0, '"x"') == (100, False)
    assert len(desk.ended) == 600
