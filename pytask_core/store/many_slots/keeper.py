"""What keeps a system in shape, in many slots. Mends what crashes leave between steps, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ...keys import RedisKeys
from ...outcomes import Outcome, place_of
from ...policy.poison import Hang, PoisonRule
from ..calls import BATCH
from ..keeper import JUST_PUSHED, HandedBack, KeeperStore, Swept
from .placer import Placer
from .steps import Steps


class ManySlotsKeeperStore(KeeperStore):
    """The keepers' transitions in steps."""

    _many_slots = True

    def __init__(
        self, client: Any, keys: RedisKeys, poison: PoisonRule | None = None, steps: Steps | None = None
    ) -> None:
        super().__init__(client, keys, poison)
        self._steps = steps or Steps(client, keys)
        self._placer = Placer(self._steps)

    def hand_back(
        self, worker: str, overdue_by: float | None = None, *, died: bool = True, hang: Hang | None = None
    ) -> HandedBack:
        steps = self._steps
        found = steps.one("held", worker=worker, overdue_by="" if overdue_by is None else int(overdue_by * 1000))
        if found is None:
            return HandedBack(0, [], [], known=False)
        beat, flat = found
        held = dict(zip(flat[::2], flat[1::2], strict=True))
        rule = self._poison
        asked = {
            "worker": worker,
            "max_deliveries": rule.max_deliveries if died else 0,
            "poison_window": rule.window_ms,
            "beat": beat,
        }
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
        steps.one("unclean", worker=worker)
        # One that has come back to life meanwhile is known on, until it is overdue again.
        if not steps.one("forget", worker=worker):
            steps.unbox(worker, forget=True)
        return done

    def _release(self, worker: str, ids: Mapping[str, str], asked: dict[str, Any], hang: Hang | None) -> HandedBack:
        """Take tasks from a worker: ids, each with the claim token under which it was held when that was found."""
        verdict = self._poison.verdict
        verdicts = {} if hang is None else {hang.task_id: self._poison.hang_verdict(hang)}
        hung = "" if hang is None else 0
        answers = self._steps.all(
            [
                self._steps.make(
                    "release",
                    task_id=each,
                    verdict=verdicts.get(each, verdict),
                    hung=1 if each in verdicts else hung,
                    **asked,
                )
                for each in ids
            ]
        )
        became = {each: answer[0] for each, answer in zip(ids, answers, strict=True)}
        self._placer.put(front=list(became.items()))
        self._placer.let_go(worker, [(each, token, became[each]) for each, token in ids.items()])
        self._steps.drop_past([each for each, what in became.items() if place_of(what).active is not False])
        return HandedBack(
            sum(place_of(what).queue is not None for what in became.values()),
            [each for each, answer in zip(ids, answers, strict=True) if answer[1]],
            [each for each, answer in zip(ids, answers, strict=True) if answer[2]],
            known=True,
        )

    def overdue(self, interval: float, task_timeout: float, unknown: float | None = None) -> dict[str, float] | None:
        workers = super().overdue(interval, task_timeout, unknown)
        if workers is None:
            return None
        keys = self._keys
        # In this order: whoever has an inbox was known before.
        boxed = self._client.smembers(keys.inboxes)
        known = self._client.zrange(keys.workers, 0, -1)
        self._steps.one("tidy", known[:1000])
        return {**workers, **dict.fromkeys(sorted(boxed.difference(known)), task_timeout)}

    def sweep(self, task_timeout: float, unknown: float | None = None) -> Swept:
        steps = self._steps
        last, ids = steps.one("page", limit=BATCH)
        if not ids:
            return Swept(bool(last), [])
        answers = self._sweep_each(ids, int(task_timeout * 1000), int(max(task_timeout, unknown or 0.0) * 1000))
        became = {each: what for each, (what, _) in zip(ids, answers, strict=True) if what}
        self._placer.put(front=list(became.items()))
        for each, (what, owner) in zip(ids, answers, strict=True):
            if owner and place_of(what).freed:
                self._placer.let_go(owner.rpartition(":")[0], [(each, owner, what)])
        self._placer.take_out(became.items())
        return Swept(bool(last), list(became.items()))

    def _sweep_each(self, ids: Sequence[str], asked: int, unknown: int) -> list[tuple[str, str]]:
        """Return what became of each, and its owner; the times are in milliseconds."""

        times = {"task_timeout": asked, "unknown": unknown}

        def look(owners: Mapping[str, tuple[str, int]]) -> dict[str, tuple[str, str]]:
            calls = [
                self._steps.make("sweep", task_id=each, owner=owner, patience=patience, **times)
                for each, (owner, patience) in owners.items()
            ]
            return {each: (what, owner) for each, (what, owner) in zip(owners, self._steps.all(calls), strict=True)}

        found = look(dict.fromkeys(ids, ("", 0)))
        owners = {each: owner for each, (what, owner) in found.items() if what == Outcome.ASK}
        if owners:
            flat = [part for pair in owners.items() for part in pair]
            patience = self._steps.one("patience", flat, **times)
            found |= look({each: (owners[each], ms) for each, ms in zip(owners, patience, strict=True)})
        # One that still is to be asked for has another owner by now.
        return [(Outcome.FINE, owner) if what == Outcome.ASK else (what, owner) for what, owner in found.values()]

    def end_parked(self, name: str, unknown_timeout: float, output: str) -> tuple[int, bool]:
        steps = self._steps
        flat = steps.one("overdue", name=name, too_long=int(unknown_timeout * 1000), limit=BATCH)
        since = dict(zip(flat[::2], flat[1::2], strict=True))
        answers = steps.all(steps.for_each("expire", since, output=output))
        became = dict(zip(since, answers, strict=True))
        self._placer.place(list(became.items()))
        steps.unpark(since.items())
        return sum(what in {Outcome.ENDED, Outcome.KEPT} for what in answers), len(since) == BATCH

    def collect(self, worker: str, *, hashes: bool) -> list[tuple[str, dict[str, str]]]:
        ids = [task_id for task_id, _ in super().collect(worker, hashes=False)]
        if not hashes or not ids:
            return [(task_id, {}) for task_id in ids]
        rows = self._steps.all(self._steps.for_each("whole", ids))
        return [(task_id, dict(zip(row[::2], row[1::2], strict=True))) for task_id, row in zip(ids, rows, strict=True)]

    def discard(self, worker: str, ids: Sequence[tuple[str, bool, str]], retention: int) -> int:
        if not ids:
            return 0
        steps = self._steps
        entries = steps.entries([each for each, *_ in ids], JUST_PUSHED)
        over = [pair for pair, count in zip(ids, entries, strict=True) if count <= 0]
        answers = steps.all(
            [
                steps.make("discard", task_id=each, retention=retention, keep=int(keep), owner=owner)
                for each, keep, owner in over
            ]
        )
        # What waits was restarted by a program that has not queued it yet, and perhaps never will.
        self._placer.place([(each, what) for (each, *_), what in zip(over, answers, strict=True)])
        steps.one("cleaned", [each for each, *_ in ids], worker=worker)
        return sum(what == Outcome.CLEANED for what in answers)
