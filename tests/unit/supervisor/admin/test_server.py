"""The master's server: nobody who talks to it, however badly, makes it wait or keeps others out."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pytask_supervisor.admin.server import MOST_CLIENTS, PATIENCE, PAUSE, RequestServer
from tests.support.waiting import wait_until

BIG = b"x" * 5_000_000


class Place:
    """A server whose turns the test gives, and clients of it."""

    def __init__(self, path: Path) -> None:
        self.now = 100.0
        self.path = str(path)
        self.clients: list[socket.socket] = []
        self.asked: list[bytes] = []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(2 * MOST_CLIENTS)
        self.server = RequestServer(listener, self.answer, b"too long\n", longest=100, clock=lambda: self.now)

    def answer(self, received: bytes) -> bytes | None:
        line, newline, _ = received.partition(b"\n")
        self.asked.append(line)
        if line == b"fail":
            raise RuntimeError("a bug")
        if line == b"big":
            return BIG
        return b"you said " + line + b"\n" if newline else None

    def client(self, said: bytes = b"") -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        self.clients.append(made)
        made.connect(self.path)
        made.sendall(said)
        made.settimeout(0)
        return made

    def turn(self) -> None:
        began = time.monotonic()
        self.server.turn()
        assert time.monotonic() - began < 1

    def heard(self, client: socket.socket) -> bytes:
        """All that comes until the server closes."""
        received = b""

        def at_end() -> bool:
            nonlocal received
            self.turn()
            try:
                chunk = client.recv(1_000_000)
            except BlockingIOError:
                return False
            received += chunk
            return not chunk

        wait_until(at_end)
        return received

    def is_closed(self, client: socket.socket) -> bool:
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "socket")
    yield made
    made.server.close()
    for client in made.clients:
        client.close()


def test_a_request_gets_its_reply_and_the_connection_ends(place: Place) -> None:
    assert place.heard(place.client(b"hello\n")) == b"you said hello\n"


def test_a_client_that_sends_byte_by_byte_holds_nobody_up(place: Place) -> None:
    slow = place.client()
    for byte in b"slowly":
        slow.send(bytes([byte]))
        place.turn()
    assert place.heard(place.client(b"quick\n")) == b"you said quick\n"
    slow.send(b"\n")
    assert place.heard(slow) == b"you said slowly\n"


def test_a_client_that_says_nothing_is_dropped_in_time(place: Place) -> None:
    silent = place.client()
    place.turn()
    assert place.server.deadline == place.now + PATIENCE
    place.now += PATIENCE - 0.1
    place.turn()
    assert not place.is_closed(silent)
    place.now += 0.2
    place.turn()
    assert place.is_closed(silent)
    assert place.server.deadline is None


def test_a_client_that_does_not_read_its_reply_is_dropped_in_time(place: Place) -> None:
    place.client(b"big\n")
    place.turn()
    assert len(place.server.writable) == 1
    place.now += PATIENCE
    place.turn()
    assert place.server.writable == []


def test_a_long_reply_goes_out_as_the_client_takes_it(place: Place) -> None:
    assert place.heard(place.client(b"big\n")) == BIG


def test_a_request_without_end_is_refused_with_a_sentence(place: Place) -> None:
    assert place.heard(place.client(b"y" * 50_000)) == b"too long\n"


def test_what_comes_after_the_request_does_not_cost_the_client_its_reply(place: Place) -> None:
    assert place.heard(place.client(b"hello\n" + b"z" * 50_000)) == b"you said hello\n"


def test_a_client_that_closes_its_side_first_is_answered_and_not_waited_on(place: Place) -> None:
    client = place.client(b"big\n")
    client.shutdown(socket.SHUT_WR)
    place.turn()
    place.turn()
    # Its end stays readable for ever: to wait on it would be to spin.
    assert len(place.server.readable) == 1
    assert place.heard(client) == BIG


def test_a_client_that_goes_away_is_forgotten(place: Place) -> None:
    for said in (b"", b"half", b"big\n", b"hello\n"):
        place.client(said).close()
    for _ in range(4):
        place.turn()
    assert len(place.server.readable) == 1
    assert place.server.writable == []
    # Nobody would hear that it was done.
    assert place.asked == []


def test_where_too_many_come_the_oldest_go_and_the_newest_is_served(place: Place) -> None:
    crowd = [place.client() for _ in range(MOST_CLIENTS + 30)]
    assert place.heard(place.client(b"me too\n")) == b"you said me too\n"
    assert place.is_closed(crowd[0])
    assert not place.is_closed(crowd[-1])
    assert len(place.server.readable) <= MOST_CLIENTS + 1


def test_a_host_that_connects_without_end_pushes_out_itself_and_nobody_else(place: Place) -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=2 * MOST_CLIENTS)) as listener:
        server = RequestServer(listener, place.answer, b"", longest=100, clock=lambda: place.now)
        slow = socket.create_connection(listener.getsockname(), source_address=("127.0.0.2", 0))
        server.turn()
        crowd = []
        for _ in range(4):
            crowd += [socket.create_connection(listener.getsockname()) for _ in range(MOST_CLIENTS // 2)]
            for _ in range(4):
                server.turn()
        assert len(server.readable) <= MOST_CLIENTS + 1
        slow.sendall(b"me too\n")
        server.turn()
        assert slow.recv(100) == b"you said me too\n"
        for client in (slow, *crowd):
            client.close()
        server.close()


def test_a_bug_in_an_answer_ends_one_connection(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    assert place.heard(place.client(b"fail\n")) == b""
    assert "unexpected error while a request was answered" in caplog.text
    assert place.heard(place.client(b"hello\n")) == b"you said hello\n"


def test_where_no_descriptor_is_left_it_pauses_instead_of_spinning(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = place.client(b"hello\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open(os.devnull, os.O_RDONLY)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        place.turn()
        place.now += PAUSE
        place.turn()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    told = [record.levelname for record in caplog.records if "let in for now: Too many open files" in record.message]
    assert told.count("WARNING") == 1
    assert place.server.readable == []
    assert place.server.deadline == place.now + PAUSE
    place.now += PAUSE
    assert place.heard(waiting) == b"you said hello\n"
