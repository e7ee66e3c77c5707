"""Ids that come to a live worker before their hash, or without one."""

from __future__ import annotations

import logging

import gevent
import pytest

from tests.support.core_apps import Echo
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


def test_a_task_whose_id_comes_before_its_hash_runs(live: Live) -> None:
    live.worker(Echo)
    live.redis.lpush(live.keys.new_queue, "a")
    wait_until(lambda: live.where.early == ["a"])

    live.redis.hset(live.keys.task("a"), mapping={"task": "echo", "data": '{"value": 1}'})

    live.until("a", "SUCCESS")


def test_what_a_worker_that_is_gone_had_seen_too_early_is_found_by_the_next(live: Live) -> None:
    live.redis.zadd(live.keys.early, {"a": 1})
    live.redis.hset(live.keys.task("a"), mapping={"task": "echo", "data": '{"value": 1}'})

    live.worker(Echo)

    live.until("a", "SUCCESS")


def test_junk_is_summed_up_in_the_log_and_a_good_task_runs_meanwhile(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.worker(Echo)
    live.redis.lpush(live.keys.new_queue, *[f"junk-{number}-" + "x" * 5_000 for number in range(300)])
    live.run("echo", value=1)

    def lines() -> list[str]:
        said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
        return [each for each in said if "has no hash" in each]

    wait_until(lambda: not live.where.early, 20, "the junk to be dropped")
    wait_until(lines, 5, "a line that tells of it")
    gevent.sleep(0)
    assert len(lines()) <= 3
    assert max(map(len, lines())) < 500
