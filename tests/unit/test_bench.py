"""What the benchmarks print is what was measured: medians, ratios, goals, and whether a curve grows."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.bench import __main__ as bench
from tests.bench import plot
from tests.bench.client import beats
from tests.bench.contenders import OURS, RIVALS
from tests.bench.goals import Goal, goals
from tests.bench.measures import beside, lasting
from tests.bench.measures.growth import Curve
from tests.bench.records import NOOP, VARIABLE, count, note, read
from tests.bench.results import Results, rst_table, text_table


def results(**rates: float) -> Results:
    """So many no-op tasks a second of each."""
    found = Results()
    for who, rate in rates.items():
        found.add(beside.RATE, who, rate)
    return found


def verdicts(found: Results, label: str) -> list[Goal]:
    return [goal for goal in goals(found) if goal.what == label]


def test_a_cell_shows_the_median_the_spread_and_the_ratio() -> None:
    found = results(pytask=100)
    for rate in (30, 10, 20):
        found.add(beside.RATE, "huey", rate)

    assert found.cell(beside.RATE, "huey", "pytask") == "20 [10–30] ×0.2"
    assert found.cell(beside.RATE, "pytask", "pytask") == "100"
    assert found.cell(beside.RATE, "arq", "pytask") == "–"


def test_who_failed_has_a_row_that_says_so() -> None:
    found = results(pytask=1)
    found.fail([beside.RATE], "huey")

    assert found.table([beside.RATE], ["pytask", "huey"], "pytask")[-1] == ["huey", "failed"]


class RefusedError(Exception):
    """What a rival may come up with."""


def test_a_contender_that_fails_is_tried_once_and_the_others_go_on(monkeypatch, capsys) -> None:
    tried = []

    class Silent:
        """In place of a stage, which would start processes."""

        def __init__(self, _server, who, *, patience) -> None:
            self.who = who

        def __enter__(self):
            return self

        def __exit__(self, *_trouble) -> None:
            pass

    def measure(stage, _count, found) -> None:
        tried.append(stage.who.name)
        if stage.who.name == "huey":
            raise RefusedError("no\nword")
        found.add(beside.ONE, stage.who.name, 1)

    monkeypatch.setattr(bench, "Stage", Silent)
    monkeypatch.setattr(beside, "enqueue", measure)
    run = bench.Run(None, [RIVALS["huey"], OURS], runs=2)
    run.all(["enqueue"])

    assert sorted(tried) == ["huey", "pytask", "pytask"]
    assert run.results.cell(beside.ONE, "huey", OURS.name) == "failed"
    assert "RefusedError: no word" in run.results.remarks[0]


def test_a_part_that_fails_is_told_of_and_the_next_one_runs(monkeypatch, capsys) -> None:
    def fail(*_words) -> None:
        raise RefusedError("no")

    monkeypatch.setattr(bench.keeping, "monitor", fail)
    monkeypatch.setattr(bench.lasting, "start", lambda _server, found: found.add(lasting.START, OURS.name, 1))
    run = bench.Run(None, [OURS], runs=1)
    run.all(["monitor", "start"])

    assert run.results.median(lasting.START, OURS.name) == 1
    assert "'monitor' was cut short: RefusedError: no" in run.results.remarks[0]


def test_who_was_not_measured_has_no_row_and_what_was_not_no_column() -> None:
    rows = results(pytask=1).table([beside.RATE, beside.NAPS], ["pytask", "huey"], "pytask")

    assert rows == [["", beside.RATE], ["pytask", "1"]]


@pytest.mark.parametrize(("ours", "verdict"), [(1000, "reached"), (999, "not reached")])
def test_the_fastest_rival_is_the_one_to_be_ten_times_as_fast_as(ours: float, verdict: str) -> None:
    found = results(pytask=ours, huey=100, dramatiq=50)
    goal = verdicts(found, "no-op tasks, one worker")[0]

    assert "huey" in goal.wanted
    assert goal.verdict == verdict


@pytest.mark.parametrize(("seconds", "verdict"), [(0.65, "reached"), (0.66, "not reached")])
def test_a_bound_is_reached_up_to_itself(seconds: float, verdict: str) -> None:
    found = Results()
    found.add(beside.NAPS, OURS.name, seconds)

    assert [goal.verdict for goal in goals(found) if goal.measured] == [verdict]


def test_a_task_that_was_lost_in_a_stop_misses_the_goal() -> None:
    found = Results()
    found.add(lasting.STOP_LEFT, OURS.name, 1)

    assert [goal.verdict for goal in goals(found) if goal.measured] == ["not reached"]


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert {goal.verdict for goal in goals(Results())} == {"not measured"}


@pytest.mark.parametrize(
    ("last", "words"),
    [(14.0, "It does not grow from 10 to 1,000 waiting tasks"), (16.0, "It grows"), (16.0, "which it must not")],
)
def test_a_curve_says_whether_it_grows(last: float, words: str) -> None:
    curve = Curve("Queue", "waiting tasks", True, [(10, 5.0, 5.0), (100, 5.5, 5.0), (1000, last, 1.0)])

    assert words in curve.sentence


def test_a_plot_is_a_picture_with_a_point_for_each_cost() -> None:
    curve = Curve("Queue", "waiting <tasks>", True, [(10, 5.0, 5.0), (1000, 50.0, 0.0)])
    root = ElementTree.fromstring(plot.svg(curve))
    dots = root.findall(".//{http://www.w3.org/2000/svg}circle")

    assert len(dots) == 4
    assert all(
        0 <= float(dot.attrib["cx"]) <= plot.WIDTH and 0 <= float(dot.attrib["cy"]) <= plot.HEIGHT for dot in dots
    )


def test_tables_have_a_row_a_line() -> None:
    rows = [["", "a"], ["who", "1"]]

    assert text_table(rows) == "     a\nwho  1"
    assert rst_table(rows).splitlines() == ["=== =", "..  a", "=== =", "who 1", "=== ="]


def test_rows_are_read_as_they_were_noted(tmp_path, monkeypatch) -> None:
    path = tmp_path / "rows"
    assert count(path) == 0
    monkeypatch.setenv(VARIABLE, str(path))
    note(NOOP, 7)
    note(NOOP, 8, 1.5)

    assert count(path) == 2
    assert [(row.kind, row.number, row.sent) for row in read(path)] == [(NOOP, 7, 0.0), (NOOP, 8, 1.5)]


def test_a_paced_stream_waits_for_each_and_never_backwards() -> None:
    pauses = [pause for _, pause in beats(100, 0.1)]

    assert len(pauses) == 10
    assert all(0 <= pause < 0.2 for pause in pauses)


def test_rivals_have_every_version_pinned() -> None:
    loose = [each for rival in RIVALS.values() for each in rival.versions if "==" not in each]

    assert not loose
