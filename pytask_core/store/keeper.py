"""What keeps a system in shape: handing back, finding what is overdue, cleaning up.

Called by Monitor, Cleanup and the worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..keys import RedisKeys
from ..policy.poison import Hang, PoisonRule
from .calls import BATCH, Calls
from .parked import Parked
from .sender import run

#: Names of parked tasks that one round of a Monitor looks at. More mends sooner what a crash left, fewer costs less.
NAMES = 100

#: How near the ends of the new queue to look for an ended task that another program has just queued again, and that
#: would lose its hash. Nearer costs less for each task that is cleaned up, farther bears a Cleanup that is behind.
JUST_PUSHED = 100


class HandedBack(NamedTuple):
    """What became of the tasks of a worker."""

    waiting: int  #: how many wait again
    convicted: list[str]  #: ids that ended, since their workers die under them
    often: list[str]  #: ids that were present at five deaths or more, without being convicted
    known: bool  #: whether the worker was registered until then; one that has just left in good order is not


class Swept(NamedTuple):
    """The answer to one page of the sweep."""

    last: bool  #: the page was the last of the task set
    told: list[tuple[str, str]]  #: id and what became of it: WAIT, STOPPED, GONE, waits or missing


def _milliseconds(task_timeout: float, unknown: float | None) -> dict[str, int]:
    """Both as the scripts take them."""
    longest = task_timeout if unknown is None else max(unknown, task_timeout)
    return {"task_timeout": int(task_timeout * 1000), "unknown": int(longest * 1000)}


class KeeperStore:
    """Transitions that mend what others left, each one script over a batch.

    Args:
        client: a Redis client that answers text.
        keys: the names of the system.
        poison: when a task that kills its worker is no longer run.
    """

    _many_slots = False

    def __init__(self, client: Any, keys: RedisKeys, poison: PoisonRule | None = None) -> None:
        self._poison = poison or PoisonRule()
        self._client = client
        self._keys = keys
        self._calls = Calls(keys)
        #: The ids whose task name no worker knows.
        self.parked = Parked(client, keys, many_slots=self._many_slots)

    def hand_back(
        self, worker: str, overdue_by: float | None = None, *, died: bool = True, hang: Hang | None = None
    ) -> HandedBack:
        """Hand back all that a worker holds, to the front of the queue.

        Args:
            worker: its id.
            overdue_by: seconds without a beat after which it counts as dead, unless it has promised to be heard of only
                later; None: it is known to be gone.
            died: charge its death to the tasks it ran; False where it leaves in good order.
            hang: by which task it hung, if it was killed for that: the death is charged to this one alone, if the
                worker has run it.
        """
        done = HandedBack(0, [], [], known=False)
        most = self._poison.max_deliveries if died else 0
        limit = "" if overdue_by is None else int(overdue_by * 1000)
        culprit = ["", ""] if hang is None else [hang.task_id, self._poison.hang_verdict(hang)]
        while True:
            back, left, convicted, often, known = self._run(
                "hand_back",
                worker=worker,
                limit=BATCH,
                overdue_by=limit,
                max_deliveries=most,
                poison_window=self._poison.window_ms,
                verdict=self._poison.verdict,
                culprit=culprit[0],
                culprit_verdict=culprit[1],
            )
            known = done.known or bool(known)
            done = HandedBack(done.waiting + back, done.convicted + convicted, done.often + often, known)
            if left <= 0:
                return done

    def overdue(self, interval: float, task_timeout: float, unknown: float | None = None) -> dict[str, float] | None:
        """Ask for a lease, and begin a round of Monitor.

        Args:
            interval: seconds between rounds of all Monitors together.
            task_timeout: seconds without a beat after which a worker is overdue, once it has promised to keep to that.
            unknown: seconds that count as the promise of workers that have made none; default ``task_timeout``.

        Returns:
            The workers that are overdue, each with the seconds that it was allowed, or None where another Monitor has
            had this round.
        """
        answer = self._run("overdue", interval=int(interval * 1000), **_milliseconds(task_timeout, unknown))
        return None if answer is None else {answer[i]: answer[i + 1] / 1000 for i in range(0, len(answer), 2)}

    def mend(self) -> list[str]:
        """Remove values that are not numbers from the hash of the Monitors; return the names of their fields."""
        fields = ("round", "cursor", "lease", "lease_until")
        values = self._client.hmget(self._keys.monitor, fields)
        known = [(name, value) for name, value in zip(fields, values, strict=True) if value is not None]
        wrong = [name for name, value in known if not (value.isascii() and value.isdecimal())]
        if wrong:
            self._client.execute_command("HDEL", self._keys.monitor, *wrong)
        return wrong

    def give_up_round(self) -> None:
        """Leave the round that was begun to another Monitor: it could not be finished here."""
        self._client.execute_command("HDEL", self._keys.monitor, "round")

    def sweep(self, task_timeout: float, unknown: float | None = None) -> Swept:
        """Look at the next page of the task set for ids that no worker renews or that have no hash.

        Args:
            task_timeout: seconds without a renewal after which that is so, as of :meth:`overdue`.
            unknown: likewise.
        """
        last, told = self._run("sweep", limit=BATCH, **_milliseconds(task_timeout, unknown))
        return Swept(bool(last), [(told[i], told[i + 1]) for i in range(0, len(told), 2)])

    def parked_for_nothing(self, task_timeout: float) -> list[str]:
        """Return names under which ids are parked though a live worker knows them; at most ``NAMES`` are looked at, by
        chance. A crash has left them so, a worker that was frozen, or a failover.
        """
        names = self.parked.sample(NAMES)
        if not names:
            return []
        able = self._run("many_slots/able", names, asking="", task_timeout=int(task_timeout * 1000))
        return [name for name, worker in zip(names, able, strict=True) if worker]

    def parked_too_long(self, unknown_timeout: float) -> list[str]:
        """Return names under which ids are perhaps parked for longer than so many seconds, at most ``NAMES``."""
        return list(self._run("many_slots/late", too_long=int(unknown_timeout * 1000), limit=NAMES))

    def end_parked(self, name: str, unknown_timeout: float, output: str) -> tuple[int, bool]:
        """End ids that are parked under a name for longer than so many seconds, as EXCEPTION.

        Returns:
            How many have ended, and whether there may be more.
        """
        too_long = int(unknown_timeout * 1000)
        count, more = self._run("expire", name=name, too_long=too_long, limit=BATCH, output=output)
        return int(count), bool(more)

    def wait_for_ended(self, blocking: Any, timeout: float) -> bool:
        """Wait until an id stands in the end queue; it stays there.

        Args:
            blocking: a client of the caller's own.
            timeout: seconds to wait at most.
        """
        # To where it is: what moved it to a list of the worker's might do so after the worker is gone.
        moved = blocking.execute_command(
            "BLMOVE", self._keys.end_queue, self._keys.end_queue, "RIGHT", "RIGHT", timeout
        )
        return moved is not None

    def collect(self, worker: str, *, hashes: bool) -> list[tuple[str, dict[str, str]]]:
        """Return what stands in the worker's cleaning list, filled up from the end queue: ids with their hashes."""
        flat = self._run("collect", worker=worker, limit=BATCH, with_hashes=int(hashes))
        return [(flat[i], dict(zip(flat[i + 1][::2], flat[i + 1][1::2], strict=True))) for i in range(0, len(flat), 2)]

    def put_back(self, worker: str) -> int:
        """Put what stands in the worker's cleaning list back to the end queue; return how many."""
        return int(self._run("put_back", worker=worker))

    def discard(self, worker: str, ids: Sequence[tuple[str, bool, str]], retention: int) -> int:
        """Forget ended tasks, but not those that wait again.

        Args:
            worker: whose cleaning list they stand in.
            ids: each with whether it is to stay findable in the task set instead, and the owner it had when a handler
                saw it ('': none did), since one that has ended once more is to be seen once more.
            retention: seconds for which the hashes stay readable; 0: none.

        Returns:
            How many are gone or will be.
        """
        words = [word for task_id, keep, owner in ids for word in (task_id, int(keep), owner)]
        return int(self._run("discard", words, worker=worker, retention=retention, near=JUST_PUSHED))

    def _run(self, script: str, each: Iterable[Any] = (), /, **named: Any) -> Any:
        return run(self._client, self._calls.make(script, each, **named))[0]
