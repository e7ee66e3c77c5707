"""The nemesis: picks a fault, does it under load, heals it, and says in a line what it was and what came of it.

Which faults come in which order with which numbers follows from the seed; when exactly they hit does not.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import redis

from tests.soak import aof
from tests.soak.hosts import GOOD_EXITS, Host
from tests.soak.ledger import Ledger
from tests.soak.watch import Watch
from tests.soak.wire import Wire
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

#: Throughput counts as back at this part of what the producer asks for.
BACK_AT = 0.6

#: Seconds after which throughput that is not back is a violation: the longest outage, lease and backoff, and some.
BACK_WITHIN = 30.0


@dataclass
class Targets:
    """What can be harmed."""

    server: RedisServer
    hosts: list[Host]
    wires: dict[str, Wire]  #: by whose they are
    ledger: Ledger
    watch: Watch
    rate: float  #: tasks a second that are asked for
    scale: float = 1.0  #: how long faults last, against their full size


@dataclass
class Done:
    """One fault, as it went."""

    names: tuple[str, ...]
    words: str
    at: float  #: monotonic
    back: float | None  #: seconds from its beginning until throughput was back; None: it was not


@dataclass
class Nemesis:
    """Does faults.

    Args:
        targets: what it may harm.
        seed: of its choice.
        only: names of faults; none: all.
        say: takes each line.
    """

    targets: Targets
    seed: int
    only: tuple[str, ...] = ()
    say: Callable[[str], None] = print
    done: list[Done] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._bag: list[str] = []
        #: Names of the faults that it may pick.
        self.names = tuple(name for name in FAULTS if not self.only or name in self.only)

    def run(self, duration: float) -> None:
        """Harm for so many seconds."""
        end = time.monotonic() + duration
        while time.monotonic() < end:
            name = self._pick()
            second = self._companion(name) if self._random.random() < 0.2 else None
            self.strike(name, *([second] if second else []))
            time.sleep(self._random.uniform(0.0, 2.0) * self.targets.scale)

    def strike(self, *names: str) -> None:
        """Do these faults at the same time, heal them, and wait until throughput is back."""
        targets, began = self.targets, time.monotonic()
        jobs = {name: partial(FAULTS[name], targets, random.Random(self._random.random())) for name in names}
        with ThreadPoolExecutor(len(names)) as pool:
            beside = {name: pool.submit(job) for name, job in jobs.items() if name in ON_HOSTS}
            # In our own thread, since the server dies with the thread that started it.
            told = {name: job() for name, job in jobs.items() if name not in ON_HOSTS}
            told |= {name: job.result() for name, job in beside.items()}
        words = " and ".join(f"{name}: {told[name]}" for name in names)
        self._raise_hosts()
        targets.ledger.write("fault", what=words, names=names, began=began)
        back = self._wait_back(began)
        self.done.append(Done(names, words, began, back))
        if back is None:
            self.violations.append(f"throughput was not back {BACK_WITHIN:g} s after {words}")
        after = "throughput is NOT back" if back is None else f"throughput back after {back:.1f} s"
        self.say(f"{words}; {after}")

    def _pick(self) -> str:
        """Every fault once, in a random order, before any comes again."""
        if not self._bag:
            self._bag = list(self.names)
            self._random.shuffle(self._bag)
        return self._bag.pop()

    def _companion(self, name: str) -> str | None:
        """Another fault that can be done beside this one: one harms processes, the other the way to the server."""
        others = [each for each in self.names if (each in ON_HOSTS) != (name in ON_HOSTS)]
        return self._random.choice(others) if others else None

    def _raise_hosts(self) -> None:
        for host in self.targets.hosts:
            if not host.is_up:
                code = host.supervisor.process.returncode
                self.violations.append(f"the supervisor of {host.name} ended by itself with exit code {code}")
                host.start()

    def _wait_back(self, began: float) -> float | None:
        """Seconds from ``began`` until throughput was back, to stay for a second."""
        enough, healed = self.targets.rate * BACK_AT, time.monotonic()
        while (now := time.monotonic()) < healed + BACK_WITHIN:
            below = self.targets.watch.last_below(enough, began, now)
            if below is None or now - below >= 1.0:
                return 0.0 if below is None else below - began
            time.sleep(0.05)
        return None


# Faults: each does its harm, heals it, and returns what it did in words.

_Fault = Callable[[Targets, random.Random], str]


def _host(targets: Targets, dice: random.Random) -> Host:
    return dice.choice(targets.hosts)


def _child(host: Host, dice: random.Random) -> int:
    return dice.choice(wait_until(host.pids, 10, f"a child of {host.name}"))


def _span(targets: Targets, dice: random.Random, least: float, most: float) -> float:
    return max(0.1, dice.uniform(least, most) * targets.scale)


def _kill(pid: int, signum: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signum)


def kill_child(targets: Targets, dice: random.Random) -> str:
    """``kill -9`` of one worker, one with for-ever tasks if there is any: a short one may be over before it hits."""
    pids = {pid: host for host in targets.hosts for pid in wait_until(host.pids, 10, f"a child of {host.name}")}
    holders = targets.watch.holders("forever-")
    pid = dice.choice([each for each in pids if each in holders] or list(pids))
    _kill(pid)
    return f"a child of {pids[pid].name}"


def kill_children(targets: Targets, dice: random.Random) -> str:
    """``kill -9`` of all workers of a host at once."""
    host = _host(targets, dice)
    pids = wait_until(host.pids, 10, f"a child of {host.name}")
    for pid in pids:
        _kill(pid)
    return f"all {len(pids)} children of {host.name}"


def kill_master(targets: Targets, dice: random.Random) -> str:
    """``kill -9`` of a master, and a new one beside its leaving children."""
    host = _host(targets, dice)
    host.kill_master()
    host.start()
    return f"the master of {host.name}, a new one started"


def lose_host(targets: Targets, dice: random.Random) -> str:
    """A master and its children die at the same time; somebody starts the host again."""
    host, away = _host(targets, dice), _span(targets, dice, 0, 7)
    host.lose()
    time.sleep(away)
    host.start()
    return f"{host.name} for {away:.1f} s"


def stop_host(targets: Targets, dice: random.Random) -> str:
    """A graceful stop, and a start."""
    host, signum = _host(targets, dice), dice.choice([signal.SIGINT, signal.SIGTERM])
    code = host.stop(signum)
    host.start()
    if code not in GOOD_EXITS:
        raise AssertionError(f"{host.name} was stopped with {signum.name} and ended with {code}")
    return f"{host.name} with {signum.name}, exit code {code}, and started"


def freeze_child(targets: Targets, dice: random.Random) -> str:
    """SIGSTOP and SIGCONT of a worker."""
    host, away = _host(targets, dice), _span(targets, dice, 1, 9)
    pid = _child(host, dice)
    targets.ledger.write("frozen", pid=pid)
    _kill(pid, signal.SIGSTOP)
    time.sleep(away)
    _kill(pid, signal.SIGCONT)
    targets.ledger.write("thawed", pid=pid)
    return f"a child of {host.name} for {away:.1f} s"


def more_workers(targets: Targets, dice: random.Random) -> str:
    """TTIN."""
    host = _host(targets, dice)
    if host.size >= 4:
        host.resize(-1)
        return f"{host.name} has its most already; one fewer, {host.size}"
    host.resize(1)
    return f"one more on {host.name}, {host.size}"


def fewer_workers(targets: Targets, dice: random.Random) -> str:
    """TTOU."""
    host = _host(targets, dice)
    if host.size <= 1:
        host.resize(1)
        return f"{host.name} has its last already; one more, {host.size}"
    host.resize(-1)
    return f"one fewer on {host.name}, {host.size}"


def freeze_server(targets: Targets, dice: random.Random) -> str:
    """SIGSTOP and SIGCONT of Redis."""
    away = _span(targets, dice, 1, 10)
    targets.server.pause()
    time.sleep(away)
    targets.server.resume()
    return f"Redis for {away:.1f} s"


def kill_server(targets: Targets, dice: random.Random) -> str:
    """``kill -9`` of Redis, and a start from its file."""
    away = _span(targets, dice, 0, 6)
    targets.server.kill()
    time.sleep(away)
    targets.server.start()
    return f"Redis for {away:.1f} s"


def empty_server(targets: Targets, dice: random.Random) -> str:
    """Redis is shut down and comes back with nothing in it."""
    away, gone = _span(targets, dice, 0, 6), time.monotonic()
    targets.server.stop()
    aof.forget(targets.server.dir)
    time.sleep(away)
    targets.server.start()
    targets.ledger.write("forgot", since=0, gone=gone)
    return f"Redis after {away:.1f} s, and all tasks with it"


def kill_clients(targets: Targets, dice: random.Random) -> str:
    """``CLIENT KILL`` of everybody, again and again."""
    times = dice.randint(1, 10)
    client = targets.server.client()
    killed = 0
    for _ in range(times):
        for kind in dice.sample(["normal", "pubsub"], dice.randint(1, 2)):
            with suppress(redis.RedisError):
                killed += int(client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"))
        time.sleep(0.2)
    targets.server.close_clients()
    return f"{killed} connections in {times} rounds"


def _harm(how: Callable[[Wire, random.Random], str], least: float = 0.0, most: float = 0.0, times: int = 1) -> _Fault:
    """A fault on one wire, or on all: do ``how`` so many times, for so long each, and heal."""

    def fault(targets: Targets, dice: random.Random) -> str:
        names = list(targets.wires)
        if dice.random() >= 0.3:
            names = [dice.choice(names)]
        chosen = [targets.wires[name] for name in names]
        began, words = time.monotonic(), ""
        for _ in range(max(1, round(times * targets.scale))):
            for wire in chosen:
                words = how(wire, dice)
            time.sleep(_span(targets, dice, least, most) if most else 0.2)
        for wire in chosen:
            wire.heal()
        return f"of {', '.join(names)} for {time.monotonic() - began:.1f} s{words}"

    return fault


def _cut(wire: Wire, dice: random.Random) -> str:
    wire.cut()
    return ""


def _refuse(wire: Wire, dice: random.Random) -> str:
    wire.refuses = True
    wire.cut()
    return ""


def _stall(wire: Wire, dice: random.Random) -> str:
    wire.stall()
    return ""


def _mute(wire: Wire, dice: random.Random) -> str:
    wire.mute = True
    return ""


def _delay(wire: Wire, dice: random.Random) -> str:
    wire.delay = dice.uniform(0.02, 0.3)
    return f", {wire.delay * 1000:.0f} ms each way"


def _throttle(wire: Wire, dice: random.Random) -> str:
    wire.rate = dice.randint(5_000, 50_000)
    return f", {wire.rate} bytes a second"


def _lose_reply(wire: Wire, dice: random.Random) -> str:
    wire.lose_reply(dice.randint(1, 20))
    return ", 10 times"


def _cut_request(wire: Wire, dice: random.Random) -> str:
    wire.cut_request(dice.randint(1, 3000))
    return ", 10 times"


def _cut_reply(wire: Wire, dice: random.Random) -> str:
    wire.cut_reply(dice.randint(1, 1000))
    return ", 10 times"


#: Faults that harm processes.
ON_HOSTS: dict[str, _Fault] = {
    "kill-child": kill_child,
    "kill-children": kill_children,
    "kill-master": kill_master,
    "lose-host": lose_host,
    "stop-host": stop_host,
    "freeze-child": freeze_child,
    "more-workers": more_workers,
    "fewer-workers": fewer_workers,
}

#: All faults by name.
FAULTS: dict[str, _Fault] = {
    **ON_HOSTS,
    "freeze-server": freeze_server,
    "kill-server": kill_server,
    "empty-server": empty_server,
    "kill-clients": kill_clients,
    "cut": _harm(_cut, times=5),
    "refuse": _harm(_refuse, 1, 11),
    "stall": _harm(_stall, 1, 11),
    "mute": _harm(_mute, 1, 11),
    "delay": _harm(_delay, 2, 6),
    "throttle": _harm(_throttle, 2, 6),
    "lose-reply": _harm(_lose_reply, times=10),
    "cut-request": _harm(_cut_request, times=10),
    "cut-reply": _harm(_cut_reply, times=10),
}
