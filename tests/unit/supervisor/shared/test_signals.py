"""The inbox, with real signals to this very process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from pytask_supervisor.shared.signals import GATHER, HANDLED, SignalInbox


@pytest.fixture
def inbox() -> Iterator[SignalInbox]:
    before = {signum: signal.getsignal(signum) for signum in HANDLED}
    with SignalInbox() as made:
        yield made
    assert {signal.getsignal(signum) for signum in HANDLED} == {signal.SIG_IGN}
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_signals_are_handed_out_once_and_in_order(inbox: SignalInbox) -> None:
    for signum in (signal.SIGTTIN, signal.SIGINT, signal.SIGTTIN):
        signal.raise_signal(signum)
    assert list(inbox.drain()) == [signal.SIGTTIN, signal.SIGINT, signal.SIGTTIN]
    assert list(inbox.drain()) == []


def test_a_signal_ends_the_wait_even_if_it_came_before(inbox: SignalInbox) -> None:
    signal.raise_signal(signal.SIGHUP)
    began = time.monotonic()
    inbox.wait(30)
    assert time.monotonic() - began < 5
    assert list(inbox.drain()) == [signal.SIGHUP]


def test_the_wait_ends_by_a_signal_that_comes_while_it_sleeps(inbox: SignalInbox) -> None:
    before = signal.signal(signal.SIGALRM, lambda _signum, _frame: signal.raise_signal(1))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    began = time.monotonic()
    while not (got := list(inbox.drain())):
        inbox.wait(30)
    assert got == [signal.SIGHUP]
    assert time.monotonic() - began < 5
    signal.signal(signal.SIGALRM, before)


def test_the_wait_ends_by_data_and_by_time(inbox: SignalInbox) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    inbox.wait(30, [read_end])
    os.read(read_end, 1)
    began = time.monotonic()
    inbox.wait(0.05, [read_end])
    assert 0.05 <= time.monotonic() - began < 5
    os.close(read_end)
    os.close(write_end)


def test_what_is_unhurried_gathers_for_a_moment_and_a_signal_does_not_wait_for_that(inbox: SignalInbox) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    began = time.monotonic()
    inbox.wait(30, unhurried=[read_end])
    assert GATHER <= time.monotonic() - began < 5
    before = signal.signal(signal.SIGALRM, lambda _signum, _frame: signal.raise_signal(1))
    waits = []
    for _ in range(10):  # On a busy machine some take longer.
        signal.setitimer(signal.ITIMER_REAL, GATHER / 10)
        began = time.monotonic()
        inbox.wait(30, unhurried=[read_end])
        waits.append(time.monotonic() - began)
        while not list(inbox.drain()):
            inbox.wait(30)
    assert min(waits) < GATHER
    signal.signal(signal.SIGALRM, before)
    os.close(read_end)
    os.close(write_end)


def test_blocked_signals_come_afterwards(inbox: SignalInbox) -> None:
    with inbox.blocked():
        signal.raise_signal(signal.SIGTERM)
        assert list(inbox.drain()) == []
    assert list(inbox.drain()) == [signal.SIGTERM]
