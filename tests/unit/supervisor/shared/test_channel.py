"""The channel on a real socket pair: whole messages, no blocking, an end that both sides see."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from pytask_supervisor.shared.channel import (
    CHUNK,
    LONGEST_LINE,
    MOST_MESSAGES,
    MOST_TURNS_BEHIND,
    MOST_UNSENT,
    OF_LOOP,
    OF_THREAD,
    Channel,
)
from pytask_supervisor.shared.messages import MOST_NAMES, PAGE


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def all_of(channel: Channel) -> list[dict[str, Any]]:
    """What has come, in as many turns as it takes."""
    messages: list[dict[str, Any]] = []
    while found := channel.receive():
        messages += found
    return messages


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    assert ours.receive() == []
    assert theirs.send({"worker": "x"})
    assert theirs.send({"beat": {"running": 1}})
    assert ours.receive() == [{"worker": "x"}, {"beat": {"running": 1}}]
    assert not ours.at_end


def test_text_of_any_kind_passes(ends: tuple[Channel, Channel]) -> None:
    message = {"failed": "Zeile 1\nZeile 2 \u2026 \U0001f600 \udcff"}
    ends[1].send(message)
    assert ends[0].receive() == [message]


def test_half_a_surrogate_pair_goes_out_as_what_can_be_written(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.send({"failed": "\ud800"})
    theirs.send({"beat": {"names": {"\udcff": 1, "\u00fc": 2}}})
    assert ours.receive() == [{"failed": "\\ud800"}, {"beat": {"names": {"\\udcff": 1, "\u00fc": 2}}}]


def test_half_a_message_waits_for_its_other_half() -> None:
    raw, end = socket.socketpair()
    channel = Channel(end, *OF_LOOP)
    raw.sendall(b'{"ready"')
    assert channel.receive() == []
    raw.sendall(b': true}\n{"be')
    assert channel.receive() == [{"ready": True}]
    raw.close()
    assert channel.receive() == []
    assert channel.at_end
    channel.close()


DEEP = b"[" * 200_000
BEAT = b'{"beat": {"running": %s}}'
TALLY = b'{"tally": {"claimed": %s, "cpu": 0, "tasks": {%s}}}'
JOB = b'"job": {"ended": {}, "run": {"sum": 0, "counts": {%s}}, "queue": {"sum": 0, "counts": {}}}'


@pytest.mark.parametrize(
    "line",
    [
        b"oops",
        b"\xff\xfe",
        b"",
        b"[1]",
        b'"x"',
        b"{}",
        DEEP,
        b'{"beat":' * 50_000,
        b'{"novelty": 1}',
        b'{"worker": 5}',
        b'{"worker": "%s"}' % (b"x" * 101),
        b'{"worker": "x", "more": 1}',
        b'{"ready": 1}',
        b'{"left": null}',
        BEAT % b'"x"',
        BEAT % b"1e999",
        BEAT % b"NaN",
        BEAT % b"-1",
        BEAT % b"1.5",
        BEAT % b"true",
        BEAT % b"null",
        BEAT % (b"9" * 5000),
        BEAT % (b"9" * 1000),
        b'{"beat": {"at": "now"}}',
        b'{"beat": {"lag": -Infinity}}',
        b'{"beat": {"names": {"x": "y"}}}',
        b'{"beat": {"names": {"%s": 1}}}' % (b"x" * 201),
        b'{"beat": {"names": {"\\ud800": 1}}}',
        b'{"beat": {"names": {"\xed\xa0\x80": 1}}}',
        b'{"queues": {"\\ud800": 1}}',
        b'{"warning": "\\ud800"}',
        b'{"worker": "\\ud800"}',
        b'{"beat": [1]}',
        TALLY % (b"1e999", b""),
        TALLY % (b"1", JOB % b'"nan": 1'),
        TALLY % (b"1", JOB % b'"-1": 1'),
        TALLY % (b"1", JOB % b'"soon": 1'),
        TALLY % (b"1", b'"job": 1'),
        b'{"queues": {"new": 1e999}}',
        b'{"queues": null}',
        b'{"warning": "%s"}' % (b"x" * 2001),
        b'{"warning": {}}',
        b'{"failed": 1}',
        b'{"handed_back": "x"}',
        b'{"handed_back": "x", "count": "y"}',
        b'{"pulse": 1}',  # of the other line
        b'{"quiet": true}',  # of the other side
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_what_is_no_message_ends_the_talk_and_is_told_in_few_printable_words(line: bytes) -> None:
    raw, end = socket.socketpair()
    channel = Channel(end, *OF_LOOP)
    raw.setblocking(False)
    raw.send(b'{"ready": true}\n')
    sent = 0
    line += b'\n{"left": true}\n'
    messages = []
    while sent < len(line) and channel.breach is None:
        sent += raw.send(line[sent : sent + 50_000])
        messages += channel.receive()
    assert messages == [{"ready": True}]
    assert channel.breach
    assert channel.breach.isprintable()
    assert len(channel.breach) < 300
    assert channel.at_end
    assert channel.receive() == []
    raw.close()
    channel.close()


@pytest.mark.parametrize("culprit", [None, 7, ["x"], "x" * 4001, "\ud800"])
def test_a_culprit_that_is_no_id_is_no_message(culprit: object) -> None:
    raw, end = socket.socketpair()
    channel = Channel(end, *OF_THREAD)
    raw.send(json.dumps({"hung": "it blocks", "seconds": 3, "culprit": culprit}).encode() + b"\n")
    assert channel.receive() == []
    assert "it.culprit must be a text" in str(channel.breach)
    raw.close()
    channel.close()


def test_a_line_without_end_ends_the_talk_and_never_fills_the_memory() -> None:
    raw, end = socket.socketpair()
    raw.setblocking(False)
    channel = Channel(end, *OF_LOOP)
    sent = 0
    while channel.breach is None and sent < LONGEST_LINE * 10:
        with suppress(BlockingIOError):
            sent += raw.send(b"x" * 65_536)
        assert channel.receive() == []
        assert channel.unread <= LONGEST_LINE + CHUNK
    assert "more than 262144 bytes" in str(channel.breach)
    raw.close()
    channel.close()


def test_one_turn_takes_a_bounded_part_of_what_a_talker_says_and_ten_seconds_of_it_are_the_end() -> None:
    raw, end = socket.socketpair()
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    channel = Channel(end, *OF_LOOP)
    line, sent, turns = b'{"beat": {}}\n', 0, 0
    while channel.breach is None:
        with suppress(BlockingIOError):
            # Goes on where the last one broke off.
            sent += raw.send((line * 5001)[sent % len(line) :])
        messages = channel.receive()
        assert len(messages) <= MOST_MESSAGES
        assert channel.unread <= LONGEST_LINE + CHUNK
        turns += 1
    assert (turns, channel.breach) == (MOST_TURNS_BEHIND + 1, "it sends without end")
    raw.close()
    channel.close()


def test_what_is_too_long_or_out_of_range_is_brought_into_its_bounds_by_who_says_it(
    ends: tuple[Channel, Channel],
) -> None:
    ours, theirs = ends
    names = {"x" * 300: 1, **{f"job-{number}": 2**70 for number in range(300)}}
    theirs.send({"failed": "y" * 5000, "detail": "z" * 50_000})
    theirs.send({"beat": {"running": -1, "lag": float("nan"), "cpu": float("inf"), "names": names}})
    failed, beat = ours.receive()
    assert (failed["failed"], len(failed["detail"])) == ("y" * 1999 + "…", PAGE)
    names = beat["beat"].pop("names")
    assert beat == {"beat": {"running": 0, "lag": 0, "cpu": 1e6}}
    assert len(names) == MOST_NAMES
    assert names["job-1"] == 2**53
    assert ours.breach is None


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
    results = [theirs.send({"beat": {"running": number}}) for number in range(50_000)]
    assert not results[-1]
    assert theirs.unsent <= MOST_UNSENT + 100
    messages = all_of(ours)
    # Once it reads again, what was kept comes whole and the next is taken.
    assert theirs.send({"left": True})
    messages += all_of(ours)
    assert messages[-1] == {"left": True}
    numbers = [message["beat"]["running"] for message in messages[:-1]]
    assert numbers == list(range(len(numbers)))


def test_the_last_message_waits_for_the_reader_but_not_for_ever(
    ends: tuple[Channel, Channel],
) -> None:
    ours, theirs = ends
    while theirs.send({"beat": {}}):
        pass
    theirs.send_last({"left": True}, timeout=0.05)
    assert theirs.at_end
    assert ours.receive()


def test_a_peer_killed_in_mid_sentence_is_an_end(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    os.write(theirs.fileno(), b'{"left": tr')
    theirs.close()
    assert ours.receive() == []
    assert ours.at_end
