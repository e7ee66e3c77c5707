"""``Reload``: reads configuration and code again while workers run; if that fails, the old go on.

New configuration counts from the first worker on that is ready with it; until then nothing is lost by going back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from pytask_supervisor.config.options import SupervisorConfig, options
from pytask_supervisor.master.changes import Change, Changes
from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.preloading import Preloading
from pytask_supervisor.master.rolling import Roll, Wish
from pytask_supervisor.master.spawner import Spawner
from pytask_supervisor.master.worker_pool import Slot, WorkerPool
from pytask_supervisor.shared.exits import Exit
from pytask_supervisor.shared.logs import counted

log = logging.getLogger("pytask.supervisor")


class Reload:
    """``read`` gives the configuration as it stands now, ``on_change`` is told of one that counts from now on."""

    def __init__(
        self,
        pool: WorkerPool,
        roll: Roll,
        spawner: Spawner,
        read: Callable[[], SupervisorConfig],
        on_change: Callable[[SupervisorConfig, SupervisorConfig], None],
        preloading: Preloading | None = None,
    ) -> None:
        self._pool = pool
        self._roll = roll
        self._spawner = spawner
        self._preloading = preloading
        self._read = read
        self._on_change = on_change
        #: What became of each reload and restart.
        self.changes = Changes()
        #: The one for which the app is being loaded ahead.
        self._loading: Change | None = None
        #: What workers were ready with.
        self._proven = spawner.config

    def read(self) -> None:
        """Have new workers started with the configuration as it stands now; raises ``ConfigError``."""
        fresh, kept = _without_fixed(self._proven, self._read())
        for flag in kept:
            log.warning("%s has changed, and stays as it was until the supervisor is started anew", flag)
        self._spawner.config = fresh

    def begin(self, by: str) -> str:
        """Have all slots filled anew, once the app is loaded anew where it is loaded ahead."""
        told: list[str] = []
        change = self.changes.begin(by)
        if self._loading is not None:
            self._loading.loading_superseded(change)
        self._loading = change

        def go_on() -> None:
            self._loading = None
            told.append(self._replace(self._pool.slots, by, change))
            if len(told) > 1:
                log.info("%s: the app is loaded; %s", by, told[-1])

        def give_up(why: str, _code: Exit) -> None:
            self._loading = None
            self._spawner.config = self._proven
            change.give_up(why)
            log.error("%s is given up: %s; the workers go on with the app that they have", by, why)

        if self._preloading is None:
            go_on()
        elif not self._preloading.load(go_on, give_up):
            told.append("the app is loaded anew, in another process than the workers come from; they follow once it is")
        return told[0]

    def replace(self, slots: list[Slot], by: str) -> str:
        """Have these slots filled anew, one after another; ``by`` is the name of what is done."""
        return self._replace(slots, by, self.changes.begin(by))

    def _replace(self, slots: list[Slot], by: str, change: Change) -> str:
        change.expect(len(slots))
        cause = Cause(Kind.RELOADED, f"was replaced ({by})")
        tried = self._spawner.config
        self._roll.ask(
            Wish(slot, cause, self._on_failure(slot, by, change), lambda: self._prove(tried), change) for slot in slots
        )
        return f"{counted(len(slots), 'worker')} to be replaced, one after another"

    def _prove(self, tried: SupervisorConfig) -> None:
        if self._proven is not tried:
            before, self._proven = self._proven, tried
            self._on_change(before, tried)

    def _on_failure(self, slot: Slot, by: str, change: Change) -> Callable[[str], None]:
        def give_up(why: str) -> None:
            left = sum(self._roll.is_asked(other) for other in self._pool.slots)
            for given_up in (change, *(wish.change for wish in self._roll.drop(_is_reload))):
                given_up.give_up(f"the new worker {slot.slot} {why}")
            self._spawner.config = self._proven
            text = "%s is given up: the new worker %s %s; the old one goes on%s"
            log.error(text, by, slot.slot, why, f", and so do {left} more" if left else "")

        return give_up


def _is_reload(wish: Wish) -> bool:
    return wish.cause.kind is Kind.RELOADED


def _without_fixed(old: SupervisorConfig, fresh: SupervisorConfig) -> tuple[SupervisorConfig, list[str]]:
    """``fresh``, with what cannot change while we run as it was; and the flags for which that matters."""
    fixed = {option.name for option in options() if option.is_fixed}
    if old.is_embedded or fresh.is_embedded:
        fixed.add("redis")  # Whether there is a server of our own, and where, is settled at the start.
    kept = [one for one in options() if one.name in fixed and getattr(old, one.name) != getattr(fresh, one.name)]
    values = {option.name: getattr(old, option.name) for option in kept}
    return (replace(fresh, **values) if fresh != old else old), [option.flag for option in kept]
