"""The last look at a cluster whose workers have all left: the ledger against the tasks' hashes, and what is left.

Called by ``tests/faults/cluster_trial.py``. The nodes' logs have no common order, so the history of each task is one
move long here: where it ended. What the checker asks of single transitions cannot be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from pytask_core.keys import RedisKeys
from pytask_core.states import FINAL, TaskState
from tests.soak import checker
from tests.soak.book import Book, open_book
from tests.soak.checker import Report
from tests.soak.ledger import Record
from tests.soak.replay import GONE, Command, Replay
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.waiting import wait_until


def snapshot(client: Any, keys: RedisKeys) -> Replay:
    """A replay of one transaction, which makes all that stands there now."""
    commands: list[Command] = []
    for key in sorted(client.scan_iter(count=1000), key=lambda key: not key.startswith(keys.task_prefix)):
        write = _WRITE.get(client.type(key))
        if write is not None:
            commands.append(write(client, key))
    return Replay(keys).feed([commands])


def _flat(pairs: dict[str, Any]) -> list[str]:
    return [str(part) for pair in pairs.items() for part in pair]


_WRITE: dict[str, Callable[[Any, str], Command]] = {
    "string": lambda client, key: ["SET", key, client.get(key)],
    "hash": lambda client, key: ["HSET", key, *_flat(client.hgetall(key))],
    "list": lambda client, key: ["RPUSH", key, *client.lrange(key, 0, -1)],
    "set": lambda client, key: ["SADD", key, *client.smembers(key)],
    "zset": lambda client, key: ["ZADD", key, *_scored(client, key)],
}


def _scored(client: Any, key: str) -> list[str]:
    pairs = client.zrange(key, 0, -1, withscores=True)
    return [part for each, score in pairs for part in (f"{score:.0f}", each)]


def judge_cluster(records: Sequence[Record], ended: Replay, cluster: ServerCluster, keys: RedisKeys) -> Report:
    """Judge.

    Args:
        records: of the ledger.
        ended: what stood there when everything had ended or was stopped, and nothing was cleaned up yet.
        cluster: with nothing left in it but what should be.
        keys: the names of the system.
    """
    left: list[dict[str, str]] = []
    with suppress(AssertionError):
        wait_until(lambda: not left.clear() and not left.extend(cluster.other_clients()) and not left, 3)
    client = cluster.client(decode_responses=True, encoding_errors="surrogateescape")
    now = snapshot(client, keys)
    book, report = open_book(records), Report()
    report.counts.update({"ids accepted": len(book.accepted), "runs": len(book.runs)})
    report.counts["ids without an answer"] = len(book.doubtful)
    report.counts["runs cut off by a death"] = sum(run.how is None for run in book.runs.values())
    _check_lost(book, ended, report)
    for check in (checker.check_overlaps, checker.check_obedience, checker.check_ends):
        check(book, ended, report)
    _check_claims(book, report)
    _check_left(book, now, report)
    report.blame("connections left", [f"{each['name'] or each['id']} {each['cmd']}" for each in left])
    return report


def _check_lost(book: Book, ended: Replay, report: Report) -> None:
    """Every accepted id has ended or is stopped, unless a master died with it that had not passed it on."""
    lost, taken = [], []
    for task_id, when in sorted(book.accepted.items()):
        history = ended.histories.get(task_id)
        # Until a worker drops it, the id of a lost hash may still stand in a list.
        state = history.state if history else GONE
        if state in {*FINAL, TaskState.STOPPED} or any(each.verb == "remove" for each in book.asked.get(task_id, ())):
            continue
        (taken if _died_with(book, when) else lost).append(f"{task_id} ({state})")
    report.taken = taken
    report.counts["ids that went with what the cluster lost"] = len(taken)
    report.blame("lost ids", lost)


def _check_claims(book: Book, report: Report) -> None:
    """A token belongs to one worker, and starts a task once, and once more a reload."""
    doubled, foreign = [], []
    for task_id, runs in book.of.items():
        reloads = sum(each.verb == "reload" for each in book.asked.get(task_id, ()))
        tokens = [run.token for run in runs]
        doubled += [f"{task_id} under {token}" for token in set(tokens) if tokens.count(token) > 1 + reloads]
        foreign += [f"{run.run} under {run.token}" for run in runs if run.token.rpartition(":")[0] != run.worker]
    report.blame("runs that one claim started twice", doubled)
    report.blame("runs under the token of another worker", foreign)


def _check_left(book: Book, now: Replay, report: Report) -> None:
    """Stopped tasks are left, in the task set, and nothing of any worker."""
    names = now.names
    is_known = checker.key_matcher(names)
    # What replicas were waited for stands a second longer.
    stray = [key for key in now.keys if not is_known(key) and not key.endswith(":confirm")]
    remains, orphans = [], []
    for key, value in now.keys.items():
        if key.startswith(names.task_prefix):
            task_id = key[len(names.task_prefix) :]
            if not now.stands(task_id) and not _may_be_half_done(book, task_id):
                orphans.append(f"{task_id} ({value.get('state')})")
        elif key == names.running:
            remains += [] if value == "0" else [f"{key} counts {value}"]
        elif key not in {names.task_set, names.monitor} and is_known(key):
            remains.append(f"{key}: {value!r:.120}")
    remains += [
        f"{each} in the task set, without a hash"
        for each in now.keys.get(names.task_set, set())
        if names.task(each) not in now.keys
    ]
    report.blame("stray keys", stray)
    report.blame("orphan hashes", orphans)
    report.blame("things left behind", remains)


def _may_be_half_done(book: Book, task_id: str) -> bool:
    """Whether its producer got no answer, or what it was told may be gone again."""
    return task_id in book.doubtful or _died_with(book, book.accepted.get(task_id, -1.0))


def _died_with(book: Book, when: float) -> bool:
    """Whether a master was killed just after that time."""
    return any(loss.since <= when <= loss.gone for loss in book.losses)
