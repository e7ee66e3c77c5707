"""The master's parts with a clock, a fork and a kill of the test's own. Called by the unit tests of the master."""

from __future__ import annotations

import signal
from pathlib import Path

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.config.settings import ConfigError
from pytask_supervisor.host.oom import OomCounter
from pytask_supervisor.master.commands import Commands
from pytask_supervisor.master.death_log import DeathLog
from pytask_supervisor.master.deaths import Deaths, Verdict
from pytask_supervisor.master.handback import Handback
from pytask_supervisor.master.preloading import Preloading
from pytask_supervisor.master.reloads import Reloads
from pytask_supervisor.master.rolling import Rolling
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_handle import Stage, WorkerHandle
from pytask_supervisor.master.worker_pool import WorkerPool
from pytask_supervisor.shared.channel import Channel
from pytask_supervisor.shared.respawn import RespawnPolicy

KILLED = int(signal.SIGKILL)


class World:
    """Time that the test moves, processes that are numbers, and kills that are written down."""

    def __init__(self) -> None:
        self.now = 100.0
        self.kills: list[tuple[int, int]] = []
        self.gone: set[int] = set()
        #: Process groups in which nobody is left but programs of other users.
        self.foreign_groups: set[int] = set()
        self.fork_fails = False
        self.far_ends: dict[int, Channel] = {}
        self.far_wires: dict[int, Channel] = {}
        self._pid = 1000
        self.state = MasterState(SupervisorConfig(workers=1))
        self.pool = WorkerPool(self.spawn, clock=self.clock, policy=lambda: RespawnPolicy(lambda: 1.0))
        self.handback = Handback(self.pool, self.clock)
        self.rolling = Rolling(self.pool)
        self.death_log = DeathLog()
        no_counter = OomCounter(Path("/nowhere"))
        self.deaths = Deaths(self.state, self.pool, self.handback, self.rolling, self.death_log, no_counter, self.clock)

    def clock(self) -> float:
        return self.now

    def kill(self, pid: int, signum: int) -> None:
        if -pid in self.foreign_groups:
            raise PermissionError
        if abs(pid) in self.gone:
            raise ProcessLookupError
        self.kills.append((pid, signum))

    def spawn(self, slot: int, _foreign: object) -> WorkerHandle:
        if self.fork_fails:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self._pid += 1
        ours, self.far_ends[self._pid] = Channel.pair()
        wire, self.far_wires[self._pid] = Channel.pair()
        return WorkerHandle(self._pid, slot, ours, wire, graceful_timeout=30, clock=self.clock, kill=self.kill)

    def staff(self, count: int) -> list[WorkerHandle]:
        for _ in range(count):
            self.pool.grow()
        self.pool.turn()
        for worker in self.pool.workers:
            worker.hear({"worker": f"w{worker.pid}"})
            worker.hear({"ready": True})
        return self.pool.workers

    def told(self, worker: WorkerHandle) -> list[str]:
        return [message["hand_back"] for message in self.far_ends[worker.pid].receive()]

    def die(self, worker: WorkerHandle, status: int = KILLED) -> Verdict | None:
        self.gone.add(worker.pid)
        return self.deaths.bury(worker, status)

    def close(self) -> None:
        for worker in self.pool.workers:
            worker.close()
        for channel in (*self.far_ends.values(), *self.far_wires.values()):
            channel.close()


class Bridge(World):
    """A world with commands."""

    def __init__(self) -> None:
        super().__init__()
        self.file: SupervisorConfig | ConfigError = self.state.tried
        preloading = Preloading(None, self.state, self.pool, lambda _warning: None, self.clock)
        self.reloads = Reloads(self.state, self.pool, self.rolling, preloading, self.read, self.clock)
        self.commands = Commands(self.state, self.pool, self.death_log, self.reloads)

    def read(self) -> SupervisorConfig:
        if isinstance(self.file, ConfigError):
            raise self.file
        return self.file

    def numbers(self) -> list[int]:
        return [report.slot for report in self.commands.slot_reports]

    def get_ready(self) -> None:
        """All that were forked get ready."""
        for worker in self.pool.workers:
            if worker.stage is Stage.STARTED:
                worker.hear({"ready": True})

    def leave(self, worker: WorkerHandle) -> None:
        """It does what it was asked for."""
        worker.hear({"left": True})
        self.die(worker, status=0)

    def turn(self) -> None:
        self.rolling.turn()
        self.pool.turn()
