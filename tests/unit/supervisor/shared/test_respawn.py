"""How long a place stays empty after a death, at the real pace."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pytask_supervisor.shared.respawn import (
    DEATHS_TO_GIVE_UP,
    FREE,
    LONG_RUN,
    LONGEST_PAUSE,
    LONGEST_WITHOUT_FORK,
    PROVEN_AFTER,
    RespawnPolicy,
)


def test_after_a_good_run_the_next_worker_starts_at_once() -> None:
    policy = RespawnPolicy()
    assert policy.pause_after(5.0) == 0
    assert [policy.pause_after(0.0) > 0, policy.pause_after(5.0)] == [True, 0]


def test_short_good_runs_are_followed_at_once_a_few_times_and_then_ever_later() -> None:
    policy = RespawnPolicy(jitter=lambda: 1.0)
    pauses = [policy.pause_after(PROVEN_AFTER + 1) for _ in range(8)]
    assert pauses[:FREE] == [0] * FREE
    assert all(0 < earlier < later for earlier, later in pairwise(pauses[FREE:]))
    assert not policy.is_hopeless
    assert policy.pause_after(LONG_RUN) == 0
    assert policy.pause_after(PROVEN_AFTER + 1) == 0


@pytest.mark.parametrize("life", [0.1, 0.9, 1.1, 2.0])
def test_a_place_in_which_workers_die_is_not_filled_more_than_twelve_times_in_a_minute(life: float) -> None:
    """That ten of them are the end of the supervisor is not even counted."""
    policy, now, forks = RespawnPolicy(jitter=lambda: 0.0), 0.0, 0
    while now < 60:
        forks += 1
        now += life + 0.4 + policy.pause_after(life)
    assert forks <= 14 if life > PROVEN_AFTER else forks <= 12


def test_a_fork_that_is_refused_is_tried_again_within_seconds_and_is_no_death() -> None:
    policy = RespawnPolicy(jitter=lambda: 1.0)
    pauses = [policy.pause_without_fork() for _ in range(30)]
    assert pauses[0] == pytest.approx(0.1)
    assert pauses[-1] == LONGEST_WITHOUT_FORK
    assert not policy.is_hopeless


def test_pauses_after_quick_deaths_grow_to_a_limit() -> None:
    policy = RespawnPolicy(jitter=lambda: 1.0)
    pauses = [policy.pause_after(0.0) for _ in range(30)]
    assert pauses[0] == pytest.approx(0.1)
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert pauses[-1] == LONGEST_PAUSE
    # Time for a deployment to end, and not so long that nobody is told.
    assert 15 < sum(pauses[: DEATHS_TO_GIVE_UP - 1]) < 55


def test_jitter_shortens_a_pause_to_half_at_most() -> None:
    low, high = RespawnPolicy(jitter=lambda: 0.0), RespawnPolicy(jitter=lambda: 1.0)
    for _ in range(12):
        assert low.pause_after(0.0) == pytest.approx(high.pause_after(0.0) / 2)


def test_ten_quick_deaths_in_a_row_are_hopeless_and_a_good_run_is_hope() -> None:
    policy = RespawnPolicy()
    for _ in range(9):
        policy.pause_after(0.5)
    assert not policy.is_hopeless
    policy.pause_after(0.5)
    assert policy.is_hopeless
    policy.pause_after(1.0)
    assert not policy.is_hopeless
