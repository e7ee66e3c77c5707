"""The channel on a real socket pair: whole messages, no blocking, an end that both sides see."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from pytask_supervisor.channel import LONGEST_LINE, MOST_UNSENT, Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    assert ours.receive() == []
    assert theirs.send({"worker": "x"})
    assert theirs.send({"beat": {"running": 1}})
    assert ours.receive() == [{"worker": "x"}, {"beat": {"running": 1}}]
    assert not ours.at_end


def test_text_of_any_kind_passes(ends: tuple[Channel, Channel]) -> None:
    message = {"failed": "Zeile 1\nZeile 2 \u2026 \ud800"}
    ends[0].send(message)
    assert ends[1].receive() == [message]


def test_half_a_message_waits_for_its_other_half() -> None:
    raw, end = socket.socketpair()
    channel = Channel(end)
    raw.sendall(b'{"ready"')
    assert channel.receive() == []
    raw.sendall(b': true}\n{"be')
    assert channel.receive() == [{"ready": True}]
    raw.close()
    assert channel.receive() == []
    assert channel.at_end
    channel.close()


def test_what_is_no_message_is_skipped() -> None:
    raw, end = socket.socketpair()
    channel = Channel(end)
    raw.sendall(b'oops\n\xff\xfe\n[1]\n"x"\n{"ready": true}\n')
    assert channel.receive() == [{"ready": True}]
    raw.close()
    channel.close()


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    raw, end = socket.socketpair()
    raw.setblocking(False)
    channel = Channel(end)
    sent = 0
    while sent < LONGEST_LINE * 3:
        try:
            sent += raw.send(b"x" * 65_536)
        except BlockingIOError:
            assert channel.receive() == []
            assert len(channel._unread) <= LONGEST_LINE
    raw.close()
    channel.close()


def test_the_last_words_of_the_dead_are_heard(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.send({"left": True})
    theirs.close()
    assert ours.receive() == [{"left": True}]
    assert ours.at_end
    assert not ours.send({"hand_back": "x"})


def test_a_reader_that_does_not_read_costs_neither_time_nor_memory(
    ends: tuple[Channel, Channel],
) -> None:
    ours, theirs = ends
    results = [ours.send({"beat": {"running": number}}) for number in range(50_000)]
    assert not results[-1]
    assert len(ours._unsent) <= MOST_UNSENT + 100
    first = theirs.receive()
    # Once it reads again, what was kept comes whole and the next is taken.
    assert ours.send({"left": True})
    messages = first + theirs.receive()
    assert messages[-1] == {"left": True}
    numbers = [message["beat"]["running"] for message in messages[:-1]]
    assert numbers == list(range(len(numbers)))


def test_the_last_message_waits_for_the_reader_but_not_for_ever(
    ends: tuple[Channel, Channel],
) -> None:
    ours, theirs = ends
    while ours.send({"beat": {}}):
        pass
    ours.send_last({"left": True}, timeout=0.05)
    assert ours.at_end
    assert theirs.receive()


def test_a_peer_killed_in_mid_sentence_is_an_end(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    os.write(theirs.fileno(), b'{"left": tr')
    theirs.close()
    assert ours.receive() == []
    assert ours.at_end
