"""The metrics in the form that Prometheus reads. Loaded only with ``--metrics-port``: it costs the master some 10 MiB.

``Exposition`` is a collector of ``prometheus-client``, which writes the text; ``docs/metrics.rst`` lists what it gives.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from pytask_supervisor.master.commands import Commands, SlotReport
from pytask_supervisor.master.stats import MasterStats, SummedTimes
from pytask_supervisor.shared.logs import dropped_lines

#: All that a worker can be; each is shown, also where there is none of it.
STAGES = ("started", "ready", "draining", "stopping", "killed", "empty")


class Exposition(Collector):
    """Made from the figures again for each reader."""

    def __init__(self, commands: Commands, stats: MasterStats) -> None:
        self._commands = commands
        self._stats = stats
        self._collectors = CollectorRegistry(auto_describe=False)
        self._collectors.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type; ``accept`` is the header of that name."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._collectors), content_type

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: names would be collected for it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        slots = self._commands.slot_reports
        yield from self._of_tasks(slots)
        yield from self._of_queues()
        yield from self._of_workers(slots)

    def _of_tasks(self, slots: list[SlotReport]) -> Iterator[Metric]:
        names = self._stats.names
        ended = CounterMetricFamily("pytask_tasks_ended", "Tasks that ended or were stopped.", labels=("name", "state"))
        for name, one in names.items():
            for state, count in one.ended.items():
                ended.add_metric((name, state), count)
        yield ended
        yield CounterMetricFamily("pytask_tasks_claimed", "Tasks taken from the queue.", value=self._stats.claimed)
        running = GaugeMetricFamily("pytask_tasks_running", "Tasks in workers' hands.", labels=("name",))
        counts: Counter[str] = Counter(dict.fromkeys(names, 0))
        for slot in slots:
            counts.update(slot.figures.get("names", {}))
        for name, count in counts.items():
            running.add_metric((name,), count)
        yield running
        text = "Seconds from a task's start to its end, of those that came to it."
        yield _histogram("pytask_task_run_seconds", text, ((name, one.run) for name, one in names.items()))
        text = "Seconds that a task waited in the queue."
        yield _histogram("pytask_task_queue_seconds", text, ((name, one.queue) for name, one in names.items()))

    def _of_queues(self) -> Iterator[Metric]:
        lengths = GaugeMetricFamily("pytask_queue_length", "Ids in a queue.", labels=("queue",))
        counted = self._stats.queues
        # A worker tells of parked ones only where there are some; a row that comes and goes is hard to alert on.
        rows = {**counted, "parked": counted.get("parked", 0)} if counted else {}
        for queue, length in rows.items():
            lengths.add_metric((queue,), length)
        yield lengths

    def _of_workers(self, slots: list[SlotReport]) -> Iterator[Metric]:
        stages = GaugeMetricFamily("pytask_workers", "Workers in a stage of their life.", labels=("stage",))
        found = Counter(slot.stage for slot in slots)
        for stage in STAGES:
            stages.add_metric((stage,), found[stage])
        yield stages
        for key, name, text in (
            ("lag", "pytask_worker_hub_lag_seconds", "How late the worker's loop was at its last beat."),
            ("memory", "pytask_worker_memory_bytes", "Memory (PSS: what is shared counts in part)."),
            ("rss", "pytask_worker_resident_bytes", "Resident memory."),
            ("up", "pytask_worker_redis_up", "Whether the worker reaches Redis."),
        ):
            yield _gauge(name, text, key, slots)
        text = "How often a worker's slot was filled again."
        restarts = CounterMetricFamily("pytask_worker_restarts", text, labels=("slot",))
        for number, restarted in {slot.slot: slot.restarts for slot in slots}.items():
            restarts.add_metric((str(number),), restarted)
        yield restarts
        deaths = CounterMetricFamily("pytask_worker_deaths", "Workers that ended, by cause.", labels=("cause",))
        for cause, count in self._commands.death_counts.items():
            deaths.add_metric((cause,), count)
        yield deaths
        text = "Seconds of CPU that all workers took."
        yield CounterMetricFamily("pytask_workers_cpu_seconds", text, value=self._stats.cpu)
        text = "Lines, logged or printed, that could not be written."
        dropped = self._stats.dropped + dropped_lines()
        yield CounterMetricFamily("pytask_log_lines_dropped", text, value=dropped)
        yield GaugeMetricFamily(
            "pytask_quiet", "Whether workers claim nothing on request.", value=self._commands.is_quiet
        )


def _gauge(name: str, text: str, key: str, slots: list[SlotReport]) -> Metric:
    """One figure of each slot; while a slot changes hands, that of the worker that leaves last is shown once."""
    family = GaugeMetricFamily(name, text, labels=("slot",))
    figures = {slot.slot: slot.figures[key] for slot in slots if key in slot.figures}
    for number, value in figures.items():
        family.add_metric((str(number),), value)
    return family


def _histogram(name: str, text: str, times: Iterable[tuple[str, SummedTimes]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("name",))
    for task, histogram in times:
        if histogram.counts:
            buckets = [("+Inf" if bound == math.inf else str(bound), count) for bound, count in histogram.buckets()]
            family.add_metric((task,), buckets, histogram.sum)
    return family
