"""What is sent in one batch about one task happens in order, also where the server does not know the scripts yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from pytask_core.outcomes import Outcome
from pytask_core.store import Ending, Event, WorkerStore
from pytask_core.store.calls import Calls
from pytask_core.store.sender import run
from tests.store.conftest import Desk
from tests.support.servers.forgotten_scripts import forget_scripts

#: How a task may leave: sends it together with its last events.
WAYS: dict[str, Callable[[WorkerStore, Sequence[Event], str, str], object]] = {
    "end": lambda worker, said, task, token: worker.report(said, [Ending(task, token, "SUCCESS", "1")], [], []),
    "stop": lambda worker, said, task, token: worker.report(said, [], [(task, token)], []),
    "requeue": lambda worker, said, task, token: worker.report(said, [], [], [(task, token)]),
}


def events(task_id: str, token: str, count: int = 3) -> list[Event]:
    return [Event(task_id, token, f'{{"event": "step", "data": {number}}}') for number in range(count)]


@pytest.mark.parametrize("way", WAYS)
def test_the_last_events_of_a_task_come_before_its_end_where_only_the_script_of_the_end_is_known(
    desk: Desk, way: str
) -> None:
    worker = desk.worker()
    # The tag keeps both on one node of a cluster.
    token = desk.run(worker, "first{x}", "second{x}")
    listener = desk.listen("second{x}")
    forget_scripts(desk.server)
    WAYS[way](worker, [], "first{x}", token)

    WAYS[way](worker, events("second{x}", token), "second{x}", token)

    heard = listener.heard()
    assert [each["data"] for each in heard if each["event"] == "step"] == [0, 1, 2]
    assert [each["event"] for each in heard[3:]] == (["success"] if way == "end" else [])


def test_events_of_one_task_keep_their_order_beside_those_of_others(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a", "b")
    listener = desk.listen("a")
    forget_scripts(desk.server)

    worker.report(
        [each for pair in zip(events("a", token), events("b", token), strict=True) for each in pair], [], [], []
    )

    assert [each["data"] for each in listener.heard()] == [0, 1, 2]


def test_a_run_that_begins_and_one_that_ended_may_speak_of_one_task_in_one_batch(desk: Desk) -> None:
    worker = desk.worker()
    token = desk.run(worker, "a")
    listener = desk.listen("a")

    refused = worker.report(events("a", "w1:999", 1), [Ending("a", token, "SUCCESS", "1")], [], [])

    assert refused == []
    assert [each["event"] for each in listener.heard()] == ["success"], "of another run nothing is heard"


def test_what_is_sent_about_one_key_waits_for_what_was_refused_before_it(desk: Desk) -> None:
    if desk.atomic:
        pytest.skip("in one slot a batch that must keep its order carries all sources")
    calls = Calls(desk.keys)
    # Now each node knows how to stop, and none how to begin.
    desk.start("other{x}")
    forget_scripts(desk.server)
    for number in range(50):
        desk.client.stop(f"nothing-{number}")

    answers = run(
        desk.redis,
        calls.make("many_slots/begin", task_id="a", name="job", data="{}", cleanup=""),
        calls.make("many_slots/stop", task_id="a", foreign=1),
        apart=True,
    )

    assert answers == [Outcome.QUEUED, Outcome.STOPPED_HALF], "stopped while it waited, before it was queued"
    assert desk.state("a") == "STOPPED"
