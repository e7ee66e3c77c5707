"""The checker of the fault kit finds what is broken in a history, and nothing in a good one."""

from __future__ import annotations

from typing import Any

import pytest

from pytask_core.keys import RedisKeys
from tests.soak.book import open_book
from tests.soak.checker import (
    CUT_OFF_WINDOW,
    FORGOTTEN_WINDOW,
    OBEY_WITHIN,
    SELF_STOP_WINDOW,
    Report,
    check,
    differences,
    key_matcher,
)
from tests.soak.replay import Replay


class Story:
    """A history, told line by line: what the server wrote, and what the ledger says."""

    def __init__(self) -> None:
        self.t = 0.0
        self.writes: list[list[list[str]]] = []
        self.records: list[dict[str, Any]] = []

    def redis(self, *lines: str) -> Story:
        """One transaction; each line a command without spaces in its words."""
        self.writes.append([line.split() for line in lines])
        return self

    def note(self, kind: str, after: float = 1.0, **fields: Any) -> Story:
        """A record, so many seconds after the last."""
        self.t += after
        self.records.append({"t": self.t, "kind": kind, **fields})
        return self

    # What usually happens

    def accept(self, task_id: str = "a") -> Story:
        self.note("tried", id=task_id)
        self.redis(f"HSET task-{task_id} task job data {{}} state WAIT", f"LPUSH new-task {task_id}")
        return self.note("accepted", id=task_id)

    def claim(self, worker: str = "w1", number: int = 1, task_id: str = "a") -> Story:
        return self.redis(
            "RPOP new-task 1",
            f"HSET task-{task_id} state RUNNING owner {worker}:{number} last_update 1",
            f"SADD tasks {task_id}",
            f"SADD {{tasks}}:held:{worker} {task_id}",
            "INCRBY {tasks}:running 1",
        )

    def begin(self, worker: str = "w1", number: int = 1, task_id: str = "a", run: int = 1, version: int = 0) -> Story:
        return self.note(
            "begin",
            run=f"{worker}/{run}",
            id=task_id,
            worker=worker,
            token=f"{worker}:{number}",
            pid=int(worker[1:]),
            version=version,
        )

    def end(self, worker: str = "w1", run: int = 1, how: str = "returned") -> Story:
        return self.note("end", run=f"{worker}/{run}", how=how)

    def let_go(self, worker: str = "w1", task_id: str = "a") -> list[str]:
        return [f"SREM {{tasks}}:held:{worker} {task_id}", "DECRBY {tasks}:running 1"]

    def finish(self, worker: str = "w1", run: int = 1, task_id: str = "a", state: str = "SUCCESS") -> Story:
        return self.redis(
            f'HSET task-{task_id} state {state} output "run={worker}/{run}"',
            *self.let_go(worker, task_id),
            f"LPUSH end-task {task_id}",
            f"SREM tasks {task_id}",
        )

    def requeue(self, worker: str = "w1", task_id: str = "a") -> Story:
        return self.redis(
            f"HSET task-{task_id} state WAIT",
            *self.let_go(worker, task_id),
            f"SREM tasks {task_id}",
            f"RPUSH new-task {task_id}",
        )

    def stopped(self, worker: str = "w1", task_id: str = "a") -> Story:
        return self.redis(
            f"HDEL task-{task_id} command", f"HSET task-{task_id} state STOPPED", *self.let_go(worker, task_id)
        )

    def clean(self, task_id: str = "a") -> Story:
        self.redis("RPOP end-task 500", f"LPUSH {{end-task}}:cleaning:w1 {task_id}")
        return self.redis(f"LREM {{end-task}}:cleaning:w1 1 {task_id}", f"DEL task-{task_id}")

    def ask(self, verb: str, task_id: str = "a", answer: bool | None = True, version: int = 0) -> Story:
        self.note("asked", id=task_id, verb=verb, version=version)
        return self.note("told", id=task_id, verb=verb, answer=answer)

    # The end

    def replay(self) -> Replay:
        return Replay().feed(self.writes)

    def judge(self) -> Report:
        return check(self.records, self.replay())

    def blamed(self) -> str:
        """The one violation."""
        report = self.judge()
        assert len(report.violations) == 1, report.text()
        return report.violations[0]


@pytest.fixture
def story() -> Story:
    return Story()


# Good ones


def test_what_goes_with_a_server_that_comes_back_empty_is_counted_and_explained(story: Story) -> None:
    story.accept().claim().begin().accept("b")
    story.redis("FLUSHALL").note("forgot", since=0.0, gone=story.t + 0.5)
    # The client starts one of them again, and the old copy has not heard of it all at once.
    story.redis("HSET task-a task job state WAIT", "LPUSH new-task a").claim("w2").begin("w2")
    story.end(how="stopped").end("w2").finish("w2").clean()
    report = story.judge()
    assert report.ok, report.text()
    assert report.counts["ids that went with what the server lost"] == 1
    assert report.counts["overlaps after the server lost claims"] == 1


def test_what_a_power_cut_took_is_counted_and_explained(story: Story) -> None:
    story.accept()
    since = story.t
    story.begin().end()  # its claim and its end were not synced
    story.note("tried", id="b").note("accepted", id="b").begin("w1", 2, "b", run=2).ask("stop", "b").note("dead", pid=1)
    story.note("forgot", since=since, gone=story.t)
    story.claim("w2").begin("w2").end("w2").finish("w2").clean()
    report = story.judge()
    assert report.ok, report.text()
    assert report.counts["ids that went with what the server lost"] == 1


def test_what_cannot_run_and_ends_as_exception_passes(story: Story) -> None:
    story.accept().note("hopeless", id="a").claim()
    story.redis('HSET task-a state EXCEPTION output "no"', *story.let_go(), "LPUSH end-task a", "SREM tasks a").clean()
    report = story.judge()
    assert report.ok, report.text()
    assert report.counts["ids that could not run"] == 1


def test_answers_that_cross_belong_to_their_own_questions(story: Story) -> None:
    story.accept().claim().begin()
    story.note("asked", id="a", verb="stop", call=1).note("asked", id="a", verb="reload", call=2)
    story.note("told", id="a", verb="stop", answer=True, call=1).note(
        "told", id="a", verb="reload", answer=None, call=2
    )
    story.end(how="stopped").stopped()
    (stop, reload) = open_book(story.records).asked["a"]
    assert (stop.answer, reload.answer) == (True, None)
    assert story.judge().ok


def test_a_task_that_runs_and_is_cleaned_up_passes(story: Story) -> None:
    report = story.accept().claim().begin().end().finish().clean().judge()
    assert report.ok, report.text()
    assert report.counts["ends"] == 1
    assert "verdict: passed" in report.text()


def test_a_task_whose_worker_is_killed_and_that_runs_again_elsewhere_passes(story: Story) -> None:
    story.accept().claim().begin().note("dead", pid=1).requeue()
    story.claim("w2").begin("w2").end("w2").finish("w2").clean()
    report = story.judge()
    assert report.ok, report.text()
    assert report.counts["runs cut off by a death"] == 1


def test_a_task_that_is_stopped_passes_and_stays_in_the_task_set(story: Story) -> None:
    story.accept().claim().begin().ask("stop").redis("HSET task-a command stop").end(how="stopped").stopped()
    assert story.judge().ok


def test_a_task_that_is_reloaded_passes(story: Story) -> None:
    story.accept().claim().begin().ask("reload", version=1).redis("HSET task-a command reload").end(how="stopped")
    story.redis("HDEL task-a command").begin(run=2, version=1).end(run=2).finish(run=2).clean()
    report = story.judge()
    assert report.ok, report.text()


def test_a_task_that_a_client_removes_while_it_runs_passes(story: Story) -> None:
    story.accept().claim().begin().ask("remove").redis("DEL task-a", "SREM tasks a", *story.let_go()).end(how="killed")
    assert story.judge().ok


def test_a_local_task_is_born_running_and_leaves_with_its_worker(story: Story) -> None:
    story.redis("HSET task-m task pytask/monitor local true state RUNNING owner w1:1", "SADD tasks m")
    story.redis("DEL task-m", "SREM tasks m")
    assert story.judge().ok


def test_a_worker_may_register_its_own_local_task_again_and_no_other_worker_may(story: Story) -> None:
    story.redis("HSET task-m task pytask/monitor local true state RUNNING owner w1:1", "SADD tasks m")
    story.redis("HSET task-m owner w1:2").redis("HSET task-m owner w2:1").redis("DEL task-m", "SREM tasks m")
    assert "illegal transitions: 1: m from RUNNING of w1:2 to RUNNING of w2:1" in story.blamed()


def test_a_producer_that_is_cut_off_between_its_two_commands_is_counted_and_not_blamed(story: Story) -> None:
    story.note("tried", id="a").redis("HSET task-a task job data {}").note("doubt", id="a")
    report = story.judge()
    assert report.ok, report.text()
    assert report.counts["hashes of producers that were cut off before the push"] == 1


def test_what_another_program_takes_out_of_the_queue_is_not_ours_to_lose_until_it_is_queued_again(story: Story) -> None:
    story.accept().redis("RENAME new-task foreign:taken").accept("b").redis("LMOVE new-task foreign:taken RIGHT LEFT")
    story.accept("c").redis("LREM new-task 0 c")
    assert not story.replay().homeless
    assert story.replay().taken == {"a", "b", "c"}
    story.redis("LPUSH new-task a").redis("RPOP new-task 1")
    assert story.replay().homeless == [("a", 8)]


def test_fields_that_a_client_writes_for_a_task_that_is_gone_are_counted_and_not_blamed(story: Story) -> None:
    report = story.accept().claim().begin().end().finish().clean().redis("HSET task-a data {}").judge()
    assert report.ok, report.text()
    assert report.counts["fields that a client wrote for a task that was gone"] == 1


def test_an_id_that_is_parked_until_a_worker_knows_its_name_stands_somewhere(story: Story) -> None:
    story.accept().claim().redis(
        "HSET task-a state WAIT",
        "SREM tasks a",
        "HSET {new-task}:parked a other",
        "ZADD {new-task}:parked:other 1764000000000001 a",
        "ZADD {new-task}:parked-names NX 1764000000000001 other",
        *story.let_go(),
    )
    assert story.replay().stands("a") == 1
    story.redis(
        "ZPOPMAX {new-task}:parked:other 500",
        "HDEL {new-task}:parked a",
        "ZREM {new-task}:parked-names other",
        "RPUSH new-task a",
    )
    story.claim("w2").begin("w2").end("w2").finish("w2").clean()
    report = story.judge()
    assert report.ok, report.text()


def test_a_task_that_waits_in_no_list_is_found_whoever_took_it_out(story: Story) -> None:
    story.accept().redis("LREM new-task 0 a")
    assert any("tasks that WAIT in no list: 1: a" in each for each in story.judge().violations)


def test_an_overlap_inside_the_self_stop_window_is_counted_and_not_blamed(story: Story) -> None:
    story.accept().claim().begin().requeue().claim("w2").begin("w2")
    story.note("end", after=CUT_OFF_WINDOW / 2, run="w1/1", how="stopped").end("w2").finish("w2").clean()
    report = story.judge()
    assert report.ok, report.text()
    assert report.counts["overlaps inside the self-stop window"] == 1
    assert report.longest_overlap == pytest.approx(CUT_OFF_WINDOW / 2)


def test_time_in_which_a_process_was_frozen_is_no_overlap(story: Story) -> None:
    story.accept().claim().begin().note("frozen", pid=1).requeue().claim("w2").begin("w2")
    story.note("thawed", after=60, pid=1)
    story.note("end", after=SELF_STOP_WINDOW / 2, run="w1/1", how="stopped").end("w2").finish("w2").clean()
    report = story.judge()
    assert report.ok, report.text()
    assert report.longest_overlap == pytest.approx(SELF_STOP_WINDOW / 2)


def test_a_lost_lease_counts_as_a_death_where_poison_is_judged(story: Story) -> None:
    story.accept()
    for number in (1, 2, 3):
        story.claim(f"w{number}").begin(f"w{number}").end(f"w{number}", how="stopped")
        story.redis(f"HSET task-a charges {number}", *([] if number == 3 else ["HSET task-a state WAIT"]))
        if number < 3:
            story.requeue(f"w{number}")
    story.redis(
        'HSET task-a state EXCEPTION output "poison"',
        *story.let_go("w3"),
        "LPUSH end-task a",
        "SREM tasks a",
    ).clean()
    report = story.judge()
    assert report.ok, report.text()
    assert report.counts["ids convicted as poison"] == 1


def test_poison_may_end_as_exception_without_a_run_after_three_deaths(story: Story) -> None:
    story.accept()
    for pid in (1, 2, 3):
        story.claim(f"w{pid}").begin(f"w{pid}").note("dead", pid=pid)
        if pid < 3:
            story.requeue(f"w{pid}")
    story.redis(
        'HSET task-a state EXCEPTION output "poison"',
        *story.let_go("w3"),
        "LPUSH end-task a",
        "SREM tasks a",
    ).clean()
    report = story.judge()
    assert report.ok, report.text()
    assert report.counts["ids convicted as poison"] == 1


# Lost


def test_an_accepted_id_that_redis_never_saw_is_lost(story: Story) -> None:
    story.note("tried", id="a").note("accepted", id="a")
    assert "lost ids: 1: a (never written)" in story.blamed()


def test_an_accepted_id_whose_hash_went_while_it_ran_is_lost(story: Story) -> None:
    report = story.accept().claim().begin().redis("DEL task-a", "SREM tasks a", *story.let_go()).end().judge()
    assert any("lost ids: 1: a (removed while RUNNING)" in each for each in report.violations)
    assert any("illegal transitions" in each for each in report.violations)


def test_an_id_that_falls_out_of_the_queue_before_its_claim_stood_nowhere(story: Story) -> None:
    story.accept().redis("RPOP new-task 1").redis("LPUSH new-task a").claim().begin().end().finish().clean()
    assert "stood nowhere for a while: 1: a (after 2)" in story.blamed()


def test_an_id_that_waits_for_ever_never_came_to_an_end(story: Story) -> None:
    report = story.accept().judge()
    assert any("never came to an end: 1: a (WAIT)" in each for each in report.violations)


# Doubled


def test_an_id_that_was_accepted_before_what_the_server_lost_is_lost(story: Story) -> None:
    story.note("tried", id="a").note("accepted", id="a")
    story.note("forgot", since=story.t + 1, gone=story.t + 2, after=3)
    assert "lost ids: 1: a (never written)" in story.blamed()


def test_a_copy_that_runs_on_for_long_after_its_server_came_back_empty_is_found(story: Story) -> None:
    story.accept().claim().begin().redis("FLUSHALL").note("forgot", since=0.0, gone=story.t + 0.5)
    story.accept().claim("w2").begin("w2").note("end", FORGOTTEN_WINDOW, run="w1/1", how="stopped")
    story.end("w2").finish("w2").clean()
    assert "ran on beyond" in story.blamed()


def test_an_end_that_is_written_over_another_is_found(story: Story) -> None:
    story.accept().claim().begin().end().finish()
    story.redis('HSET task-a output "run=w9/1"').clean()
    report = story.judge()
    assert [each.partition(":")[0] for each in report.violations] == ["illegal transitions"], report.text()


def test_what_should_not_be_able_to_run_and_does_not_end_as_exception_is_found(story: Story) -> None:
    story.accept().note("hopeless", id="a").claim()
    story.redis('HSET task-a state SUCCESS output "no"', *story.let_go(), "LPUSH end-task a", "SREM tasks a").clean()
    assert "ends that no run explains" in story.blamed()


def test_two_copies_at_the_same_time_under_one_token_are_found(story: Story) -> None:
    story.accept().claim().begin().begin(run=2).end(run=1, how="stopped").end(run=2).finish(run=2).clean()
    report = story.judge()
    assert any("under one valid token: 1: w1/1 and w1/2 of a" in each for each in report.violations)


def test_a_copy_that_runs_on_beside_the_new_one_is_found(story: Story) -> None:
    story.accept().claim().begin().requeue().claim("w2").begin("w2")
    story.note("end", after=CUT_OFF_WINDOW * 2, run="w1/1", how="stopped").end("w2").finish("w2").clean()
    assert "self-stop window: 1: w1/1 ran 0.20 s beside w2/1 of a, and was never frozen" in story.blamed()


def test_a_copy_that_runs_on_for_too_long_after_it_was_thawed_is_found(story: Story) -> None:
    story.accept().claim().begin().note("frozen", pid=1).requeue().claim("w2").begin("w2").note("thawed", pid=1)
    story.note("end", after=SELF_STOP_WINDOW * 2, run="w1/1", how="stopped").end("w2").finish("w2").clean()
    assert "self-stop window: 1: w1/1 ran 2.00 s beside w2/1 of a, after it was frozen" in story.blamed()


def test_an_id_that_redis_gives_away_while_it_runs_is_found(story: Story) -> None:
    story.accept().claim().begin().end().redis("HSET task-a owner w2:1").begin("w2").end("w2")
    story.redis('HSET task-a state SUCCESS output "run=w2/1"', *story.let_go(), "SREM tasks a", "LPUSH end-task a")
    assert "illegal transitions: 1: a from RUNNING of w1:1 to RUNNING of w2:1" in story.clean().blamed()


def test_a_run_without_a_claim_is_found(story: Story) -> None:
    story.accept().claim().begin(number=7).end(how="stopped").begin(run=2).end(run=2).finish(run=2).clean()
    assert "runs without a claim: 1: w1/1 of a (w1:7)" in story.blamed()


def test_a_claim_that_starts_its_task_twice_is_found(story: Story) -> None:
    story.accept().claim().begin().end(how="stopped").begin(run=2).end(run=2).finish(run=2).clean()
    assert "one claim started twice: 1: a 2 times under w1:1 with 0 reloads" in story.blamed()


# Illegal


@pytest.mark.parametrize(
    ("first", "second"),
    [("SUCCESS", "ERROR"), ("STOPPED", "SUCCESS"), ("ERROR", "EXCEPTION"), ("SUCCESS", "EXCEPTION")],
)
def test_an_illegal_transition_is_found(story: Story, first: str, second: str) -> None:
    story.accept().redis(f"HSET task-a state {first}").redis(f"HSET task-a state {second}")
    assert any(
        "illegal transitions" in each and f"from {first} of None to {second}" in each
        for each in story.judge().violations
    )


def test_a_task_that_runs_without_ever_having_waited_is_found(story: Story) -> None:
    story.redis("HSET task-a state RUNNING owner w1:1", "SADD tasks a").ask("remove").redis(
        "DEL task-a", "SREM tasks a"
    )
    assert "illegal transitions: 1: a from nothing to RUNNING of w1:1" in story.blamed()


def test_a_recorded_stop_that_is_forgotten_is_found(story: Story) -> None:
    story.accept().claim().begin().redis("HSET task-a command stop").end(how="stopped").requeue()
    story.claim(number=2).begin(number=2, run=2).end(run=2).finish(run=2).clean()
    assert "commands that were forgotten: 1: the stop of a, WAIT after 4" in story.blamed()


def test_a_recorded_restart_that_is_forgotten_is_found(story: Story) -> None:
    story.accept().claim().begin().redis("HSET task-a command restart").end().finish().clean()
    assert "the restart of a, SUCCESS after 4" in story.blamed()


def test_a_task_that_runs_on_after_its_stop_was_answered_is_found(story: Story) -> None:
    story.accept().claim().begin().ask("stop").redis("HSET task-a command stop")
    story.note("fault", after=OBEY_WITHIN).end(how="stopped").stopped()
    assert "the stop of a: w1/1 ran on for 26 s" in story.blamed()


def test_a_task_that_keeps_its_old_data_after_its_reload_was_answered_is_found(story: Story) -> None:
    story.accept().claim().begin().ask("reload", version=3)
    story.note("fault", after=OBEY_WITHIN).end().finish().clean()
    assert "the reload of a: w1/1 has version 0 and not 3" in story.blamed()


# Ends


def test_an_end_whose_run_had_lost_its_claim_is_found(story: Story) -> None:
    story.accept().claim().begin().requeue().claim("w2").end().begin("w2").end("w2", how="stopped")
    story.redis('HSET task-a state SUCCESS output "run=w1/1"', *story.let_go("w2"), "SREM tasks a", "LPUSH end-task a")
    assert "ends that no run explains: 1: a ended as SUCCESS under w2:1" in story.clean().blamed()


def test_an_end_that_differs_from_how_the_run_ended_is_found(story: Story) -> None:
    story.accept().claim().begin().end(how="error").finish().clean()
    assert "ends that no run explains" in story.blamed()


def test_an_end_that_names_no_run_is_found(story: Story) -> None:
    story.accept().claim()
    story.redis("HSET task-a state EXCEPTION output null", *story.let_go(), "SREM tasks a", "LPUSH end-task a")
    assert "a ended as EXCEPTION with the output 'null'" in story.clean().blamed()


def test_a_run_that_ends_its_task_twice_is_found(story: Story) -> None:
    story.accept().claim().begin().end().finish()
    story.redis("RPOP end-task 1", "HSET task-a state WAIT", "HDEL task-a output", "LPUSH new-task a")
    story.claim().finish().clean()
    assert "runs that ended twice: 1: w1/1" in story.blamed()


def test_two_ends_of_one_run_in_the_ledger_are_found(story: Story) -> None:
    story.accept().claim().begin().end().end().finish().clean()
    assert "runs that ended twice: 1: w1/1" in story.blamed()


def test_the_end_of_a_run_that_never_began_is_found(story: Story) -> None:
    story.end()
    assert "ends of runs that never began: 1: w1/1" in story.blamed()


# Left behind


def test_an_orphan_hash_is_found(story: Story) -> None:
    story.accept().claim().begin().end().finish().redis("RPOP end-task 1")
    assert "orphan hashes: 1: a (SUCCESS)" in story.blamed()


def test_a_stray_key_is_found(story: Story) -> None:
    story.redis("SET pytask:forgotten 1")
    assert "stray keys: 1: pytask:forgotten" in story.blamed()


@pytest.mark.parametrize(
    "command",
    [
        "SADD {tasks}:held:w1 a",
        "ZADD {tasks}:workers 1 w1",
        "LPUSH {new-task}:inbox:w1 a",
        "SADD {tasks}:names:w1 job",
        "SET {tasks}:running 1",
        "SADD tasks ghost",
        "LPUSH end-task ghost",
    ],
)
def test_what_a_worker_leaves_behind_is_found(story: Story, command: str) -> None:
    assert "things left behind: 1" in story.redis(command).blamed()


def test_every_key_that_keys_py_names_is_known_and_others_are_not() -> None:
    is_known = key_matcher(RedisKeys())
    names = RedisKeys()
    for key in (
        names.held("w"),
        names.inbox("w"),
        names.cleaning("w"),
        names.names("w"),
        names.running,
        names.task("x"),
    ):
        assert is_known(key)
    for key in ("", "task", "tasks2", "{tasks}:helt:w", "lock"):
        assert not is_known(key)


# The kit itself


def test_a_command_that_the_replay_does_not_know_is_an_error_and_not_passed_over(story: Story) -> None:
    with pytest.raises(ValueError, match="GETDEL"):
        story.redis("GETDEL task-a").replay()


def test_a_difference_between_the_log_and_the_server_is_found(story: Story) -> None:
    replay = story.accept().replay()
    same = {"task-a": {"task": "job", "data": "{}", "state": "WAIT"}, "new-task": ["a"]}
    assert differences(replay, same) == []
    assert differences(replay, {**same, "new-task": []}) == ["new-task: ['a'] in the log, [] there"]
