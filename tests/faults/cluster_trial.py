"""``ClusterTrial``: a trial on a cluster of three masters and three replicas, with either kind of key names.

It ends like all others, but for one thing: the nodes' logs of writes have no common order, so the checker cannot follow
each transition. It judges by the ledger, by the tasks' hashes as they are when all have ended, and by what is left once
they have been cleaned up.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from pytask_core import PyTaskHelpers
from pytask_core.connection import outage
from pytask_core.keys import RedisKeys
from pytask_core.states import TaskState
from tests.faults.numbers import OPTIONS
from tests.faults.trial import Trial, seconds_until
from tests.soak import ledger
from tests.soak.book import NEVER
from tests.soak.checker import Report
from tests.soak.cluster_verdict import judge_cluster, snapshot
from tests.soak.hosts import Host
from tests.support.servers.redis_cluster import Node, ServerCluster
from tests.support.servers.setups import SETUPS
from tests.support.waiting import wait_until
from tests.support.whereabouts import Whereabouts

#: What nodes and redis-py say of keys that lie in different slots.
_CROSSED = ("CROSSSLOT", "same slot", "non local key")

#: Seconds before a kill in which what was written may not have reached the replica yet.
LAG = 1.0


class Open:
    """In the place of a ``Wire``: the way to all nodes, which nobody harms.

    Args:
        url: of the cluster.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def heal(self) -> None:
        """Nothing is wrong."""

    def close(self) -> None:
        """Nothing is open."""


class ClusterTrial(Trial):
    """Use as a context.

    Args:
        cluster: where, emptied before.
        setup: ``cluster`` or ``cluster-tag``, of ``tests/support/servers/setups.py``.
        durability: of workers and of our own starts.
        more: options of ``PyTask`` for the workers.
    """

    app = "tests.faults.cluster_app:app"

    def __init__(self, cluster: ServerCluster, setup: str, durability: str = "async", **more: Any) -> None:
        self.cluster = cluster
        self._options: dict[str, Any] = {**SETUPS[setup].names, "durability": durability}
        self._more = more
        self.keys = RedisKeys(**SETUPS[setup].names)
        self._crossed = crossed(cluster)
        self._user = ""
        super().__init__()

    def _open_server(self, *words: str) -> Any:
        self.cluster.flush()
        return self.cluster

    def _connect(self, **more: Any) -> PyTaskHelpers:
        client = self.cluster.client(decode_responses=True, encoding_errors="surrogateescape", socket_timeout=3)
        return PyTaskHelpers(client, **{**self._options, **more})

    def _new_wire(self, _name: str) -> Any:
        secret = f"{self._user}:{self._user}@" if self._user else ""
        return Open(self.cluster.url.replace("://", f"://{secret}"))

    def host(
        self,
        workers: int = 3,
        *,
        wait: bool = True,
        user: str = "",
        environ: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Host:
        """As of ``Trial``; ``user``: as whom it logs in, so that it can be barred."""
        self._user = user
        if user:
            self._acl("SETUSER", user, "on", f">{user}", "~*", "&*", "+@all")
        options = {OPTIONS: json.dumps({**self._options, **self._more})}
        return super().host(workers, wait=wait, environ={**options, **(environ or {})}, **more)

    # Asking, while nodes die

    def try_start(self, task_id: str, name: str = "soak/short", **options: str) -> bool:
        """Start a task and note it; False where nobody knows whether it was accepted. ``options``: of the helpers."""
        self.note("tried", [task_id])
        helpers = self._connect(**options) if options else self.helpers
        try:
            helpers.start_task(name, task_id)
        except Exception as error:
            if outage(error) is None:
                raise
            self.note("doubt", [task_id])
            return False
        finally:
            if options:
                helpers.close()
        self.note("accepted", [task_id])
        return True

    def insist(self, verb: str, task_id: str) -> None:
        """Command until it is answered."""
        wait_until(lambda: self.command(verb, task_id) is not None, 20, f"the {verb} of {task_id} to be answered")

    @contextmanager
    def load(self, prefix: str, pause: float = 0.02) -> Iterator[list[str]]:
        """Short tasks without end, while the context lasts; gives the errors that their producer saw."""
        over, errors = threading.Event(), list[str]()
        helpers = self._connect()

        def produce() -> None:
            for number in itertools.count():
                task_id = f"{prefix}-{number}"
                self.note("tried", [task_id])
                try:
                    helpers.start_task("soak/short", task_id)
                except Exception as error:
                    errors.append(repr(error))
                    self.note("doubt", [task_id])
                else:
                    self.note("accepted", [task_id])
                if over.wait(pause):
                    return

        thread = threading.Thread(target=produce, name="load")
        thread.start()
        try:
            yield errors
        finally:
            over.set()
            thread.join(30)
            helpers.close()

    # Looking

    def beside(self, key: str, prefix: str) -> str:
        """An id whose hash lies on the master that has the key; with tagged names, any."""
        master = self.cluster.master_of(self.keys.task(key) if self.keys.one_slot else key)
        names = (f"{prefix}-{number}" for number in range(1_000))
        return next(each for each in names if self.cluster.master_of(self.keys.task(each)) is master)

    def seconds_to_serve(self, name: str, since: float, key: str) -> float:
        """Until new tasks have been started, have run and have ended; one of them where the key is. Since then."""
        for task_id in (self.beside(key, name), f"{name}-more"):
            wait_until(lambda task_id=task_id: self.try_start(task_id), 30, f"{task_id} to be accepted")
            wait_until(lambda task_id=task_id: self._has_ended(task_id), 30, f"{task_id} to end")
        return time.monotonic() - since

    def _has_ended(self, task_id: str) -> bool:
        try:
            return self.state(task_id) == "SUCCESS"
        except Exception as error:
            if outage(error) is None:
                raise
            return False

    def of_each_worker(self) -> dict[int, str]:
        """A for-ever task in the hands of each worker; more are started where one has none."""
        pids = [pid for host in self.hosts for pid in host.pids()]
        found: dict[int, str] = {}

        def has_all() -> bool:
            found.clear()
            found.update(
                {
                    run.pid: run.id
                    for runs in self.book.of.values()
                    for run in runs[-1:]
                    if run.ended == NEVER and run.id.startswith("forever")
                }
            )
            missing = set(pids) - found.keys()
            if missing:
                self.try_start(f"forever-more-{len(self.book.tried)}", "soak/forever")
            return not missing

        wait_until(has_all, 30, "a for-ever task on each worker", interval=0.2)
        return {pid: found[pid] for pid in pids}

    def commands_work(self, version: int) -> float:
        """See that reload, stop and restart work on every worker; the longest time until a stop was obeyed."""
        longest = 0.0
        for pid, task_id in self.of_each_worker().items():
            self.helpers.set_task(task_id, "data", json.dumps({"version": version}))
            self.insist("reload", task_id)
            wait_until(lambda task_id=task_id: self.runs(task_id)[-1].version == version, 10, "the reload")
            assert self.runs(task_id)[-1].pid == pid, "a reload stays with its worker"
            self.insist("stop", task_id)
            longest = max(longest, seconds_until(lambda task_id=task_id: self.runs(task_id)[-1].how == "stopped"))
            self.wait_state([task_id], "STOPPED")
            count = len(self.runs(task_id))
            self.insist("restart", task_id)
            wait_until(lambda task_id=task_id, count=count: len(self.runs(task_id)) > count, 20, "the restart")
        return longest

    # Nodes

    def kill(self, node: Node) -> float:
        """SIGKILL to a node; when that was."""
        gone = time.monotonic()
        node.close_clients()
        node.kill()
        self._gone = gone
        return gone

    def back(self, node: Node) -> None:
        """Start a dead node as the replica of who took its place; what had not reached that is gone."""
        if not node.running:
            node.start()
        self.cluster.until_well()
        self.ledger.write("forgot", since=self._gone - LAG, gone=self._gone)

    def bar(self, user: str) -> None:
        """No node lets that user in any more, or goes on with a connection of his."""
        self._acl("SETUSER", user, "off")
        for node in self.cluster.alive:
            node.ask("CLIENT", "KILL", "USER", user)

    def admit(self, user: str) -> None:
        """The contrary."""
        self._acl("SETUSER", user, "on")

    def _acl(self, *words: str) -> None:
        for node in self.cluster.alive:
            node.ask("ACL", *words)

    # The ending

    def _come_to_rest(self) -> None:
        for host in self.hosts:
            host.wire.heal()
        wait_until(lambda: not self.helpers.queue_lengths()["new"], 20, "the queue empty")
        wait_until(self._all_stopped, 20, "everything stopped or ended", interval=0.05)
        # An id on its way from the queue to its run stands in neither. What never ends, the judge will name.
        with suppress(AssertionError):
            wait_until(self._is_at_rest, 5, "nothing under way", interval=0.1)
        super()._come_to_rest()

    def _is_at_rest(self) -> bool:
        """Whether the snapshot that it takes shows no accepted task that waits or runs, and no id without a hash."""
        early = Whereabouts(self.redis, self.keys).early
        self._ended = snapshot(self.redis, self.keys)
        found = [self._ended.histories.get(task_id) for task_id in self.book.accepted]
        return not early and not any(each and each.state in {TaskState.WAIT, TaskState.RUNNING} for each in found)

    def _verdict(self) -> Report:
        report = judge_cluster(ledger.read(self._path), self._ended, self.cluster, self.keys)
        report.blame("CROSSSLOT, by the nodes", ["an answer"] * (crossed(self.cluster) - self._crossed))
        report.blame("CROSSSLOT, in logs", ["a line"] * sum(self.said(words) for words in _CROSSED))
        return report

    def _hang_up(self) -> None:
        self.cluster.close_clients()
        self.helpers.close()


class ProcessTrial(ClusterTrial):
    """For faults that no node has a part in: the same app and the same times as on a single server."""

    app = Trial.app

    def host(self, workers: int = 2, **more: Any) -> Host:
        """As of ``Trial``."""
        return super().host(workers, **more)


class Knocks:
    """Listens in the places of dead nodes, notes when somebody comes, and sends everybody away. Use as a context.

    Args:
        ports: of the nodes.
    """

    def __init__(self, ports: Iterable[int]) -> None:
        #: Seconds, monotonic: when each came.
        self.times: list[float] = []
        self._listeners = [socket.create_server(("127.0.0.1", port), backlog=64) for port in ports]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="knocks")

    def _listen(self) -> None:
        while not self._over.is_set():
            for listener in select.select(self._listeners, [], [], 0.05)[0]:
                listener.accept()[0].close()
                self.times.append(time.monotonic())

    def between(self, since: float, until: float) -> int:
        """How many came meanwhile."""
        return sum(since <= each < until for each in self.times)

    def __enter__(self) -> Knocks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for listener in self._listeners:
            listener.close()


def crossed(cluster: ServerCluster) -> int:
    """How many commands the nodes that live have refused because their keys lie in different slots."""
    rows = [node.ask("INFO", "errorstats") for node in cluster.alive]
    return sum(int(row.get("errorstat_CROSSSLOT", {"count": 0})["count"]) for row in rows)
