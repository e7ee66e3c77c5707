"""F40: code of users that misbehaves."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.trial import Trial, seconds_until

#: How, and what becomes of it: by itself, or once it is told to stop.
ENDS = {"raises": "EXCEPTION", "emits rubbish": "EXCEPTION"}
STOPS = ["stop raises", "stop never returns", "swallows once", "swallows all"]


def test_no_misbehaviour_of_one_task_holds_up_another_or_its_worker(stage: Callable[[], Trial]) -> None:
    """F40: ``stop`` that raises or never returns, handlers that fail, events that JSON cannot carry, ``StopTask``
    swallowed. Each has its deadline, and the log names it. More: ``tests/worker/tasks/test_ending.py``.
    """
    with stage() as trial:
        host = trial.host(workers=1)
        pids, ids = host.pids(), trial.forever(5)
        rude = trial.start(*(("faults/rude", {"how": how}, how.replace(" ", "-")) for how in (*ENDS, *STOPS)))
        ending, stopping = rude[: len(ENDS)], rude[len(ENDS) :]
        trial.wait_state(ending, "EXCEPTION")
        trial.wait_running(stopping)
        for task_id in stopping:
            assert trial.command("stop", task_id)
        assert seconds_until(lambda: {trial.state(each) for each in stopping} == {"STOPPED"}) < 10
        assert trial.run_counts([*ids, *rude]) == {1: len(ids) + len(rude)}
        trial.short(20)
        trial.expected = [
            "Traceback",  # of what tasks have raised, and of stop() and of the handler
            "The exception handler",
            "The stop() of task 'stop-raises'",
            "Task 'swallows-all' (faults/rude) swallows StopTask and GreenletExit",
        ]
        for words in (*trial.expected, "The stop() of task 'stop-never-returns'"):
            assert trial.said(words), words
        assert host.pids() == pids
    assert trial.report.counts["ends"] == len(ending) + 20
