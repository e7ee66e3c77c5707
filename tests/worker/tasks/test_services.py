"""The one shape of the parts of a worker, and the one loop of those that need Redis."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event

from pytask_core.connection.complaints import Complaints
from pytask_core.connection.link import RedisLink, ServerError, Unreachable
from pytask_core.process.news import News
from pytask_core.process.service import Bell, Service
from tests.support.waiting import wait_until

log = logging.getLogger("pytask.tests")


@pytest.fixture
def link() -> Iterator[RedisLink]:
    link = RedisLink("the server", lambda: None, lambda: 1.0)
    link.begin()
    yield link
    link.close()


def serve(link: RedisLink, *ends: Exception | None, complaints: Complaints) -> None:
    """Have turns that end so, one after the other, without pauses."""
    left = list(ends)

    def turn() -> None:
        end = left.pop(0)
        if end is not None:
            raise end

    link.serve(turn, complaints, is_over=lambda: not left, pause=0)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_what_redis_refuses_is_said_once_until_it_is_another_thing_or_a_turn_goes_well(
    link: RedisLink, caplog: pytest.LogCaptureFixture
) -> None:
    first, other = ServerError("WRONGTYPE"), ServerError("NOPERM")
    complaints = Complaints(log, "Nothing can be sent", "Trying again")
    serve(link, first, first, other, other, first, None, first, first, complaints=complaints)
    wrong, denied = "Nothing can be sent: WRONGTYPE. Trying again", "Nothing can be sent: NOPERM. Trying again"
    assert said(caplog) == [wrong, denied, wrong, wrong]


def test_what_is_not_to_be_said_once_is_said_each_time(link: RedisLink, caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(log, "Nothing can be sent", "Trying again", is_once=False)
    serve(link, ServerError("WRONGTYPE"), ServerError("WRONGTYPE"), complaints=complaints)
    assert len(said(caplog)) == 2


def test_a_bug_is_told_with_its_traceback_and_turns_go_on(link: RedisLink, caplog: pytest.LogCaptureFixture) -> None:
    serve(link, ValueError("ours"), ValueError("ours"), None, complaints=Complaints(log, bug="A bug in pytask"))
    assert said(caplog) == ["A bug in pytask"] * 2
    assert all(record.exc_info and record.exc_info[0] is ValueError for record in caplog.records)


def test_an_error_of_which_a_part_says_nothing_reaches_its_caller(link: RedisLink) -> None:
    with pytest.raises(ValueError, match="theirs"):
        serve(link, ValueError("theirs"), complaints=Complaints(log, "Nothing can be sent"))


def test_no_turn_begins_before_there_is_work_and_redis_can_be_reached() -> None:
    link = RedisLink("the server", lambda: None, lambda: 1.0)
    work, turns = Event(), list[bool]()

    def turn() -> None:
        turns.append(link.up)
        work.clear()
        raise Unreachable("gone again")

    serving = gevent.spawn(link.serve, turn, Complaints(log), wait_for_work=work.wait)
    gevent.sleep(0)
    link.begin()
    gevent.sleep(0)
    assert turns == [], "there is nothing to do"
    work.set()
    wait_until(lambda: turns == [True])
    serving.kill()

    link, turns = RedisLink("the server", lambda: None, lambda: 1.0), []
    serving = gevent.spawn(link.serve, turn, Complaints(log), wait_for_work=work.wait)
    work.set()
    gevent.sleep(0)
    assert turns == [], "Redis cannot be reached"
    link.begin()
    wait_until(lambda: turns == [True])
    serving.kill()


def test_who_insists_gets_what_the_turn_returned_that_went_well(link: RedisLink) -> None:
    ends: list[Callable[[], int]] = [lambda: 1 // 0, lambda: 7]

    def turn() -> int:
        return ends.pop(0)()

    complaints = Complaints(log, bug="A bug in pytask")
    insisting = gevent.spawn(link.insist, turn, complaints)
    assert insisting.get(timeout=5) == 7


def test_what_comes_during_a_turn_wakes_the_next_one() -> None:
    work: list[int] = []
    bell = Bell(lambda: work, most=5)
    work.append(1)
    bell.ring()
    assert bell.wait()
    work.clear()
    waiting = gevent.spawn(bell.wait)
    gevent.sleep(0)
    assert not waiting.ready(), "an old ring counts for nothing"
    bell.ring()
    assert waiting.get(timeout=5) is True


def test_a_bell_wakes_in_any_case_once_its_time_is_over() -> None:
    assert Bell(lambda: False, most=0.01).wait() is False


def test_a_part_has_turns_from_its_start_to_its_stop() -> None:
    turns = 0

    class Counter(Service):
        def turn(self) -> None:
            nonlocal turns
            turns += 1
            gevent.sleep(0)

    counter = Counter()
    counter.start()
    wait_until(lambda: turns > 2)
    counter.stop()
    seen = turns
    gevent.sleep(0)
    assert turns == seen
    counter.stop()


def test_a_part_that_fails_is_named_and_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    turns = 0

    class Clumsy(Service):
        def turn(self) -> None:
            nonlocal turns
            turns += 1
            if turns == 1:
                raise ValueError("once")
            gevent.sleep(5)

    clumsy = Clumsy()
    clumsy.start()
    wait_until(lambda: turns == 2)
    clumsy.stop()
    assert said(caplog) == ["Clumsy.run has failed (ValueError) and begins again, with pauses"]


def test_a_thing_is_news_once_and_again_after_it_was_over() -> None:
    news = News()
    assert [news.is_news(thing) for thing in ("a", "b", "a")] == [True, True, False]
    news.over()
    assert news.is_news("a")


def test_of_things_that_are_not_kept_the_earlier_ones_are_news_again() -> None:
    news = News(keep=1)
    assert [news.is_news(thing) for thing in ("a", "a", "b", "a")] == [True, False, True, True]
