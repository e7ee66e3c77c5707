"""What keeps a system in shape, in many slots. Mends what crashes leave between steps, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ...keys import RedisKeys
from ...policy.poison import Hang, PoisonRule
from ..keeper import BATCH, JUST_PUSHED, HandedBack, KeeperStore, Swept
from .steps import Steps


class ManySlotsKeeperStore(KeeperStore):
    """The keepers' transitions in steps."""

    _many_slots = True

    def __init__(self, client: Any, keys: RedisKeys, poison: PoisonRule | None = None) -> None:
        super().__init__(client, keys, poison)
        self._steps = Steps(client, keys)

    def hand_back(
        self, worker: str, overdue_by: float | None = None, *, died: bool = True, hang: Hang | None = None
    ) -> HandedBack:
        keys, steps = self._keys, self._steps
        limit = "" if overdue_by is None else int(overdue_by * 1000)
        found = steps.one("held", [keys.workers, keys.held(worker), keys.holders, keys.leases], [worker, limit])
        if found is None:
            return HandedBack(0, [], [], known=False)
        beat, flat = found
        held = dict(zip(flat[::2], flat[1::2], strict=True))
        rule = self._poison
        asked = [worker, rule.max_deliveries if died else 0, rule.window_ms, rule.verdict, beat]
        # Before the tasks: then one that stands in the inbox and is held as well is not queued twice.
        done = HandedBack(steps.unbox(worker), [], [], known=beat != "")
        rest = iter(held.items())
        while batch := dict(islice(rest, BATCH)):
            released = self._release(worker, batch, asked, hang)
            done = HandedBack(
                done.waiting + released.waiting,
                done.convicted + released.convicted,
                done.often + released.often,
                done.known,
            )
        steps.one("unclean", [keys.end_queue, keys.cleaning(worker), keys.last_report(worker)])
        known = [keys.workers, keys.held(worker), keys.names(worker), keys.suspect(worker), keys.leases]
        # One that has come back to life meanwhile is known on, until it is overdue again.
        if not steps.one("forget", known, [worker]):
            steps.unbox(worker, forget=True)
        return done

    def _release(self, worker: str, ids: Mapping[str, str], asked: list[Any], hang: Hang | None) -> HandedBack:
        """Take tasks from a worker: ids, each with the claim token under which it was held when that was found."""
        words = {each: [*asked, "" if hang is None else int(each == hang.task_id)] for each in ids}
        if hang is not None and hang.task_id in ids:
            words[hang.task_id][3] = self._poison.hang_verdict(hang)
        answers = self._steps.all([("release", [self._keys.task(each)], words[each]) for each in ids])
        became = {each: answer[0] for each, answer in zip(ids, answers, strict=True)}
        self._move(became)
        leaves = {"WAIT", "GONE", "end", "end again", "past"}
        self._steps.let_go(worker, [(each, token, became[each] in leaves) for each, token in ids.items()])
        self._steps.drop_past([each for each, what in became.items() if what not in leaves])
        return HandedBack(
            sum(what == "WAIT" for what in became.values()),
            [each for each, answer in zip(ids, answers, strict=True) if answer[1]],
            [each for each, answer in zip(ids, answers, strict=True) if answer[2]],
            known=True,
        )

    def _move(self, became: dict[str, str]) -> None:
        """Put ids where they belong now; before they leave where they were."""
        steps, calls = self._steps, []

        def ids(what: str) -> list[str]:
            return [each for each, became_what in became.items() if became_what == what]

        if ids("WAIT") or ids("waits"):
            entries = [*((each, "must") for each in ids("WAIT")), *((each, "ensure") for each in ids("waits"))]
            calls.append(steps.pushing(entries, "RPUSH"))
        ended = [*ids("end"), *ids("end again")]
        if ended:
            calls.append(steps.ending("", ended))
        if calls:
            steps.all(calls)
        if ids("waits"):
            # Of these, who started them may have got no further than the hash, which expires until it is queued.
            steps.all([("queued", [self._keys.task(each)], []) for each in ids("waits")])

    def overdue(self, interval: float, task_timeout: float, unknown: float | None = None) -> dict[str, float] | None:
        workers = super().overdue(interval, task_timeout, unknown)
        if workers is None:
            return None
        keys = self._keys
        # In this order: whoever has an inbox was known before.
        boxed = self._client.smembers(keys.inboxes)
        known = self._client.zrange(keys.workers, 0, -1)
        self._steps.one("tidy", [keys.new_queue, keys.waiting, keys.spare], [keys.inbox_prefix, *known[:1000]])
        return {**workers, **dict.fromkeys(sorted(boxed.difference(known)), task_timeout)}

    def sweep(self, task_timeout: float, unknown: float | None = None) -> Swept:
        keys, steps = self._keys, self._steps
        last, ids = steps.one("page", [keys.monitor, keys.task_set], [BATCH])
        if not ids:
            return Swept(bool(last), [])
        answers = self._sweep_each(ids, int(task_timeout * 1000), int(max(task_timeout, unknown or 0.0) * 1000))
        became = {each: what for each, (what, _) in zip(ids, answers, strict=True) if what}
        self._move(became)
        for each, (what, owner) in zip(ids, answers, strict=True):
            if what in {"WAIT", "STOPPED", "GONE"} and owner:
                steps.let_go(owner.rpartition(":")[0], [(each, owner, what != "STOPPED")])
        steps.deactivate([each for each, what in became.items() if what != "STOPPED"])
        named = {"end again": "ended"}
        return Swept(bool(last), [(each, named.get(what, what)) for each, what in became.items()])

    def _sweep_each(self, ids: Sequence[str], asked: int, unknown: int) -> list[tuple[str, str]]:
        """Return what became of each, and its owner; the times are in milliseconds."""

        def look(owners: Mapping[str, tuple[str, int]]) -> dict[str, tuple[str, str]]:
            calls = [("sweep", [self._keys.task(each)], [asked, unknown, *owner]) for each, owner in owners.items()]
            return {each: (what, owner) for each, (what, owner) in zip(owners, self._steps.all(calls), strict=True)}

        found = look(dict.fromkeys(ids, ("", 0)))
        owners = {each: owner for each, (what, owner) in found.items() if what == "ask"}
        if owners:
            keys, flat = self._keys, [part for pair in owners.items() for part in pair]
            args = [keys.held_prefix, asked, unknown, *flat]
            patience = self._steps.one("patience", [keys.leases, keys.workers], args)
            found |= look({each: (owners[each], ms) for each, ms in zip(owners, patience, strict=True)})
        # One that still is to be asked for has another owner by now.
        return [("", owner) if what == "ask" else (what, owner) for what, owner in found.values()]

    def end_parked(self, name: str, unknown_timeout: float, output: str) -> tuple[int, bool]:
        keys, steps = self._keys, self._steps
        flat = steps.one("overdue", [keys.parked], [name, int(unknown_timeout * 1000), BATCH])
        since = dict(zip(flat[::2], flat[1::2], strict=True))
        answers = steps.all([("expire", [keys.task(each)], [output]) for each in since])
        became = dict(zip(since, answers, strict=True))
        self._move(became)
        steps.activate([each for each, what in became.items() if what == "keep"])
        steps.unpark(since.items())
        return sum(what in {"end", "keep"} for what in answers), len(since) == BATCH

    def collect(self, worker: str, *, hashes: bool) -> list[tuple[str, dict[str, str]]]:
        ids = [task_id for task_id, _ in super().collect(worker, hashes=False)]
        if not hashes or not ids:
            return [(task_id, {}) for task_id in ids]
        rows = self._steps.all([("whole", [self._keys.task(task_id)], []) for task_id in ids])
        return [(task_id, dict(zip(row[::2], row[1::2], strict=True))) for task_id, row in zip(ids, rows, strict=True)]

    def discard(self, worker: str, ids: Sequence[tuple[str, bool, str]], retention: int) -> int:
        if not ids:
            return 0
        steps = self._steps
        entries = steps.entries([each for each, *_ in ids], JUST_PUSHED)
        over = [pair for pair, count in zip(ids, entries, strict=True) if count <= 0]
        answers = steps.all(
            [("discard", [self._keys.task(each)], [retention, int(keep), owner]) for each, keep, owner in over]
        )
        became = {each: what for (each, *_), what in zip(over, answers, strict=True)}
        steps.activate([each for each, what in became.items() if what == "keep"])
        # Restarted by somebody who has not queued it yet, and perhaps never will.
        self._move({each: what for each, what in became.items() if what == "waits"})
        steps.one("cleaned", [self._keys.cleaning(worker)], [each for each, *_ in ids])
        return sum(what == "gone" for what in answers)
