"""What the master reads: from a worker, from the fork server, from clients of its control socket."""

from __future__ import annotations

import gc
import pickle
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytask_supervisor.admin.health import health
from pytask_supervisor.admin.prometheus import Exposition
from pytask_supervisor.master.death_log import Kind
from pytask_supervisor.master.stats import MasterStats
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.master.worker_messages import WorkerMessages
from pytask_supervisor.shared.channel import CHUNK, LONGEST_LINE, OF_LOOP, OF_THREAD, Channel
from pytask_supervisor.shared.messages import FROM_FORK_SERVER
from pytask_supervisor.shared.shapes import MisshapenError
from tests.fuzz.shapes import EXAMPLES, lines
from tests.support.master_world import Bridge

#: Seconds of the master's own time that one turn may take.
STALL = 0.1
#: Bytes of all that the master remembers of what was said, however much that was.
MOST_REMEMBERED = 2_000_000

relaxed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


class Master(Bridge):
    """All that reads of a worker's words, with one worker after another."""

    def __init__(self) -> None:
        super().__init__()
        self.stats = MasterStats()
        self.messages = WorkerMessages(self.pool, self.deaths, self.handback, self.stats)
        self.page = Exposition(self.commands, self.stats)
        self.raw: list[socket.socket] = []
        self.pool.grow()

    def spawn(self, slot: int, _foreign: object) -> WorkerHandle:
        self._pid += 1
        self.raw = []
        ours = []
        for line in (OF_LOOP, OF_THREAD):
            mine, theirs = socket.socketpair()
            theirs.setblocking(False)
            self.raw.append(theirs)
            ours.append(Channel(mine, *line))
        mark = "-abcdef01"
        return WorkerHandle(self._pid, slot, *ours, mark=mark, graceful_timeout=30, clock=self.clock, kill=self.kill)

    def birth(self) -> WorkerHandle:
        self.now += 1000
        self.pool.turn()
        (worker,) = self.pool.workers
        return worker

    def death(self, worker: WorkerHandle) -> None:
        for end in self.raw:
            end.close()
        self.messages.listen_to_end(worker)
        self.deaths.bury(worker, 9)


@pytest.fixture(scope="module")
def master() -> Iterator[Master]:
    made = Master()
    yield made
    made.close()


def timed(step: Any, *words: Any) -> None:
    # The garbage of the fuzzer itself, a million objects of it, is none of the master's.
    gc.disable()
    began = time.thread_time()
    step(*words)
    took = time.thread_time() - began
    gc.enable()
    assert took < STALL, f"{took:.3f} s for {step}"


@relaxed
@given(said=st.lists(st.tuples(st.integers(0, 1), lines), max_size=8))
def test_no_word_of_a_worker_ends_stalls_or_fills_the_master(master: Master, said: list[tuple[int, bytes]]) -> None:
    worker = master.birth()
    for line, text in said:
        with suppress(BlockingIOError, BrokenPipeError):
            master.raw[line].send(text)
        timed(master.messages.listen, worker)
        # All that looks at its figures.
        _ = worker.running, worker.done, worker.memory, str(worker)
        health(master.commands.slot_reports, master.now, is_quiet=False)
        timed(master.page.render, "")
        for channel in (worker.channel, worker.wire):
            assert channel.unread <= LONGEST_LINE + CHUNK
    if worker.is_unheard:
        assert worker.stage is Stage.KILLED
        assert worker.cause is not None
        assert worker.cause.kind is Kind.BREACH
    timed(master.death, worker)
    remembered = pickle.dumps((master.stats, master.death_log, master.messages.warnings))
    assert len(remembered) < MOST_REMEMBERED


@relaxed
@given(said=lines)
def test_the_words_of_the_fork_server_are_messages_or_refused(said: bytes) -> None:
    with suppress(MisshapenError):
        assert isinstance(FROM_FORK_SERVER.read(said), dict)
