"""The stage of a soak: server, wires, hosts, traffic, nemesis; from the first start to the verdict.

Everything listens on 127.0.0.1 or a unix socket, and everything is bounded: rates, sizes, waiting.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import redis

from pytask_core import PyTaskHelpers
from tests.soak import aof, ledger
from tests.soak.checker import Report
from tests.soak.figures import figures
from tests.soak.foreign import Foreigner
from tests.soak.hosts import Host
from tests.soak.nemesis import Nemesis, Targets
from tests.soak.traffic import Meddler, Producer, connect
from tests.soak.verdict import judge
from tests.soak.watch import Watch
from tests.soak.wire import Wire
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.support.whereabouts import Whereabouts, is_cleaned_up

#: What the log may not say, whatever is done to us.
_BUGS = re.compile(r"A bug in pytask|unexpected error in the supervisor|gives an answer that was not expected")


#: The hosts, and what each runs.
_APPS = {"host-1": "tests.soak.app:app", "host-2": "tests.soak.app:app", "host-3": "tests.soak.second:app"}


@dataclass(frozen=True)
class Plan:
    """What a soak is to be.

    Durations are seconds, rates are a second.
    """

    seed: int = 1
    duration: float = 60.0
    workers: int = 4  #: of two hosts together; the second app has as many as each of them
    rate: float = 60.0  #: tasks
    meddling: float = 4.0  #: commands to for-ever tasks
    forever: int = 30  #: for-ever tasks
    foreign: float = 1.0  #: things that another program does to the queue and to tasks
    only: tuple[str, ...] = ()  #: faults; none: all
    scale: float = 1.0  #: how long faults last
    each_once: bool = False  #: every fault once, instead of whatever fits the duration


class Stage:
    """One soak. Use as a context; ``run`` it once.

    Args:
        plan: what it is to be.
        say: takes each line.
        keep: keep ledger and logs also where everything passes.
    """

    def __init__(self, plan: Plan, say: Callable[[str], None] = print, *, keep: bool = False) -> None:
        self._plan = plan
        self._keep = keep
        self._say = say
        self._stack = ExitStack()
        self._trouble: list[str] = []
        #: Ledger, logs, and on failure the server's file.
        self.folder = Path(tempfile.mkdtemp(prefix="pytask-soak-"))

    def __enter__(self) -> Stage:
        plan, enter = self._plan, self._stack.enter_context
        path = self.folder / "ledger"
        self._server = enter(RedisServer(appendonly=True, extra=aof.ARGUMENTS))
        self._ledger = enter(closing(ledger.Ledger(path)))
        self._watch = enter(closing(Watch(path)))
        wires = {name: Wire(self._server.socket) for name in (*_APPS, "clients")}
        enter(closing(wires["clients"]))
        self._hosts = [
            enter(closing(Host(name, self.folder / name, wires[name], path, max(1, plan.workers // 2), app=app)))
            for name, app in _APPS.items()
        ]
        url = wires["clients"].url
        self._producer = enter(closing(Producer(url, self._ledger, plan.seed, plan.rate)))
        self._meddler = enter(closing(Meddler(url, self._ledger, plan.seed + 1, plan.meddling, plan.forever)))
        self._foreigner = enter(closing(Foreigner(self._server.url, self._ledger, plan.seed + 2, plan.foreign)))
        targets = Targets(self._server, self._hosts, wires, self._ledger, self._watch, plan.rate, plan.scale)
        self.nemesis = Nemesis(targets, plan.seed, plan.only, self._tell)
        self._wires = wires
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if not self._keep:
            shutil.rmtree(self.folder)

    def run(self) -> Report:
        """Start everything, let the nemesis at it, come to rest, judge. The folder stays unless everything passes."""
        keep, self._keep = self._keep, True
        self._began = time.monotonic()
        self._watch.start()
        for host in self._hosts:
            host.start()
        self._meddler.begin()
        self._producer.start()
        self._meddler.start()
        wait_until(lambda: self._watch.rate(time.monotonic()) > self._plan.rate / 2, 30, "the first throughput")
        # Else the first deaths may find nothing to cut off. The meddler stops some meanwhile.
        wait_until(
            lambda: len(self._watch.running() & set(self._meddler.ids)) * 2 > self._plan.forever,
            30,
            "the for-ever tasks",
        )
        self._tell(f"under load: {self._plan.rate:g} tasks a second, {self._plan.forever} for-ever tasks")
        self._foreigner.start()
        if self._plan.each_once:
            for name in self.nemesis.names:
                self.nemesis.strike(name)
        else:
            self.nemesis.run(self._plan.duration)
        self._come_to_rest()
        return self._judge(keep=keep)

    def _tell(self, words: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {words}")

    # Coming to rest

    def _come_to_rest(self) -> None:
        for wire in self._wires.values():
            wire.heal()
        self._producer.close()
        self._meddler.close()
        self._foreigner.close()
        self._wait(self._foreigner.come_to_rest, 30, "all that the other program took started again")
        for thread in (self._producer, self._meddler, self._foreigner):
            if thread.failure is not None:
                self._trouble.append(f"the {type(thread).__name__.lower()} of the kit broke: {thread.failure!r}")
        with closing(connect(self._server.url)) as helpers, closing(helpers.redis):
            self._tell("healed; waiting for everything to run")
            self._wait(lambda: self._settled(helpers), 45, "the queue empty, each for-ever task stopped or running")
            self._tell("stopping the for-ever tasks")
            self._wait(lambda: self._all_stopped(helpers), 30, "every for-ever task stopped")
            self._wait(lambda: is_cleaned_up(helpers.redis), 15, "nothing left to clean up")
        for host in self._hosts:
            code = host.stop()
            if code != 0:
                self._trouble.append(f"{host.name} ended with exit code {code} at rest")
            if left := host.leave_nothing():
                self._trouble.append(f"{host.name} left processes behind: {left}")

    def _wait(self, predicate: Callable[[], object], timeout: float, what: str) -> None:
        try:
            wait_until(predicate, timeout, what, interval=0.1)
        except (AssertionError, redis.RedisError) as error:
            self._trouble.append(str(error))

    def _settled(self, helpers: PyTaskHelpers) -> bool:
        ids, running = self._meddler.ids, self._watch.running()
        rows = helpers.get_tasks(ids, ["state", "command"])
        moving = [
            task_id
            for task_id, (state, command) in zip(ids, (row or (None, None) for row in rows), strict=True)
            if command or state == "WAIT" or (state == "RUNNING") != (task_id in running)
        ]
        busy = [task_id for task_id in running if task_id.startswith("short-")]
        self._unsettled = moving, busy
        look = Whereabouts(helpers.redis)
        return not (moving or busy or look.new or look.inboxes or look.parked or look.early)

    def _all_stopped(self, helpers: PyTaskHelpers) -> bool:
        ids = [task_id for task_id in helpers.get_active_task_ids() if task_id.startswith(("forever-", "foreign-"))]
        rows = helpers.get_tasks(ids, ["state"])
        going = [task_id for task_id, row in zip(ids, rows, strict=True) if row and row[0] == "RUNNING"]
        for task_id in going:
            helpers.stop_task(task_id)
        return not going and not helpers.queue_lengths()["new"]

    # The verdict

    def _judge(self, *, keep: bool) -> Report:
        self._watch.close()
        records = ledger.read(self.folder / "ledger")
        report = judge(records, self._server)
        report.counts["faults"] = len(self.nemesis.done)
        report.blame("what the logs should not say", self._bugs())
        report.violations += [*self._trouble, *self.nemesis.violations]
        for line in figures(records, self.nemesis.done):
            self._say(line)
        self._keep = keep or not report.ok
        if self._keep:
            shutil.copytree(self._server.dir / "appendonlydir", self.folder / "appendonlydir")
        return report

    def _bugs(self) -> list[str]:
        return [
            f"{host.name}: {line}"
            for host in self._hosts
            for line in host.log.read_text(errors="replace").splitlines()
            if _BUGS.search(line)
        ]
