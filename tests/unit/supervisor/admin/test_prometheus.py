"""Health, and the page that Prometheus reads."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from pytask_core.worker.stats import WorkerStats
from pytask_supervisor.admin.health import FRESH, health
from pytask_supervisor.admin.prometheus import Exposition
from pytask_supervisor.master.commands import SlotReport
from pytask_supervisor.master.stats import MasterStats


def told(figures: WorkerStats) -> dict[str, Any]:
    """A worker's message."""
    return {"cpu": 0.5, **figures.take()}


def slot(number: int = 1, stage: str = "ready", restarts: int = 0, **figures: Any) -> SlotReport:
    return SlotReport(number, 100 + number, stage, 5.0, restarts, figures.get("running", 0), 0, figures)


class Shown:
    """The figures that ``Commands`` shows, as given."""

    def __init__(self, *slots: SlotReport, **deaths: int) -> None:
        self.slot_reports = list(slots)
        self.death_counts = deaths
        self.is_quiet = False


def page(commands: Shown, stats: MasterStats) -> dict[tuple[str, tuple[str, ...]], float]:
    """Each sample by its name and the values of its labels, as Prometheus reads them."""
    body, content_type = Exposition(commands, stats).render("")  # type: ignore[arg-type]
    assert content_type.startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(value for _, value in sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def test_one_able_worker_is_health_enough_and_the_others_are_named() -> None:
    now = 1000.0
    slots = [
        slot(1, at=now - 1, up=True),
        slot(2, at=now - 1, up=False),
        slot(3, at=now - FRESH - 1, up=True),
        slot(4, "started", at=now, up=True),
        slot(5),
        SlotReport(6, None, "empty", 0.0, 0, 0, 0),
    ]
    is_well, words = health(slots, now, is_quiet=False)
    assert is_well
    assert words.split("\n") == [
        "1 of 6 workers can take tasks",
        "worker 2 does not reach Redis",
        "worker 3 has not beaten for 6 s",
        "worker 4 is started",
        "worker 5 has not beaten yet",
        "worker 6 is empty",
    ]
    assert health(slots[1:], now, is_quiet=False)[0] is False
    assert health([], now, is_quiet=False) == (False, "0 of 0 workers can take tasks")
    assert health(slots[:1], now, is_quiet=True) == (True, "1 of 1 workers can take tasks, and were told to be quiet")


def test_the_page_shows_what_there_is() -> None:
    stats = MasterStats()
    worker = WorkerStats({"job"})
    worker.claimed("job", 3.0)
    worker.ended("job", "SUCCESS", 0.3)
    stats.add({**told(worker), "dropped": 3})
    stats.queues = {"new": 7, "active": 1, "end": 0}
    commands = Shown(
        slot(1, names={"job": 2}, lag=0.25, memory=1000, rss=2000, up=True),
        slot(2, "stopping", restarts=3, names={"job": 1, "rest": 1}, lag=0.5, memory=10, rss=20, up=False),
        signal=1,
        oom=0,
    )
    samples = page(commands, stats)

    expected = {
        ("pytask_tasks_ended_total", ("job", "SUCCESS")): 1,
        ("pytask_tasks_ended_total", ("job", "EXCEPTION")): 0,
        ("pytask_tasks_claimed_total", ()): 1,
        ("pytask_tasks_running", ("job",)): 3,
        ("pytask_tasks_running", ("rest",)): 1,
        ("pytask_task_run_seconds_bucket", ("0.25", "job")): 0,
        ("pytask_task_run_seconds_bucket", ("0.5", "job")): 1,
        ("pytask_task_run_seconds_bucket", ("+Inf", "job")): 1,
        ("pytask_task_run_seconds_count", ("job",)): 1,
        ("pytask_task_run_seconds_sum", ("job",)): 0.3,
        ("pytask_task_queue_seconds_bucket", ("2.5", "job")): 0,
        ("pytask_task_queue_seconds_bucket", ("5.0", "job")): 1,
        ("pytask_queue_length", ("new",)): 7,
        ("pytask_queue_length", ("parked",)): 0,
        ("pytask_workers", ("ready",)): 1,
        ("pytask_workers", ("stopping",)): 1,
        ("pytask_workers", ("empty",)): 0,
        ("pytask_worker_hub_lag_seconds", ("2",)): 0.5,
        ("pytask_worker_memory_bytes", ("1",)): 1000,
        ("pytask_worker_resident_bytes", ("1",)): 2000,
        ("pytask_worker_redis_up", ("1",)): 1,
        ("pytask_worker_redis_up", ("2",)): 0,
        ("pytask_worker_restarts_total", ("2",)): 3,
        ("pytask_worker_deaths_total", ("signal",)): 1,
        ("pytask_workers_cpu_seconds_total", ()): 0.5,
        ("pytask_quiet", ()): 0,
        ("pytask_log_lines_dropped_total", ()): 3,
    }
    assert {key: samples.get(key) for key in expected} == expected


def test_a_place_that_changes_hands_is_shown_once() -> None:
    page(Shown(slot(1, lag=1.0, memory=1), slot(1, "started", lag=2.0, memory=2)), MasterStats())
