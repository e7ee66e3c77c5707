"""``Helm``: all that an operator can ask of a running supervisor, by a signal or in any other way.

Each method does its work at once, or sets it going, and returns a sentence for whoever asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pytask_supervisor.child import Child
from pytask_supervisor.kinds import MOST_WORKERS
from pytask_supervisor.ledger import Cause, Death, DeathLedger, Kind
from pytask_supervisor.logs import counted
from pytask_supervisor.reloading import Reloading
from pytask_supervisor.settings import ConfigError
from pytask_supervisor.spawner import Spawner
from pytask_supervisor.team import Place, Team


@dataclass(frozen=True)
class Slot:
    """A place as it is shown."""

    slot: int
    pid: int | None  #: None while it is empty.
    stage: str  #: ``started``, ``ready``, ``draining``, ``stopping``, ``killed``, or ``empty``.
    uptime: float  #: Seconds since the fork.
    restarts: int  #: How often the place was filled anew.
    running: int
    done: int
    #: The last beat as it came; see ``Child.figures``.
    figures: dict[str, Any] = field(default_factory=dict)


class OrderError(Exception):
    """What was asked for cannot be; the text is a sentence."""


class Helm:
    """Steers the team; the supervisor's loop carries out what takes time. ``announce`` is called before a reload."""

    def __init__(
        self,
        team: Team,
        ledger: DeathLedger,
        spawner: Spawner,
        reloading: Reloading,
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        self._team = team
        self._reloading = reloading
        self._announce = announce
        self._ledger = ledger
        self._spawner = spawner
        #: Nothing is started any more.
        self.is_stopping = False

    # What there is.

    @property
    def slots(self) -> list[Slot]:
        """All places, also those whose worker is to leave for good."""
        shown = [_shown(place, place.child) for place in self._team.places]
        members = {place.child for place in self._team.places}
        shown += [_shown(self._team.place_of(child), child) for child in self._team.children if child not in members]
        return sorted(shown, key=lambda slot: slot.slot)

    @property
    def deaths(self) -> tuple[Death, ...]:
        """The last deaths, oldest first."""
        return self._ledger.deaths

    @property
    def death_counts(self) -> dict[str, int]:
        """Deaths since the start, by kind; each kind is there."""
        return {kind.value: self._ledger.counts[kind] for kind in Kind}

    @property
    def changes(self) -> list[dict[str, Any]]:
        """What became of each reload and restart, oldest first."""
        return self._reloading.changes.told()

    @property
    def is_quiet(self) -> bool:
        """Whether no worker claims anything new."""
        return self._spawner.is_quiet

    # What can be done.

    def scale(self, count: int, by: str = "scale") -> str:
        """So many workers; raises ``OrderError`` where that makes no sense, or while stopping."""
        self._refuse_while_stopping()
        if not 1 <= count <= MOST_WORKERS:
            raise OrderError(f"there can be 1 to {MOST_WORKERS} workers, not {count}")
        before = self._team.size
        while self._team.size < count:
            self._team.grow()
        while self._team.size > count:
            self._team.shrink(Cause(Kind.ASKED, f"was one too many ({by})"))
        return f"{counted(count, 'worker')} now, {before} before"

    def more(self, by: str) -> str:
        """One worker more."""
        self.scale(self._team.size + 1, by)
        return f"one more, {counted(self._team.size, 'worker')} now"

    def fewer(self, by: str) -> str:
        """One worker fewer; it stays at one."""
        if self._team.size == 1:
            return "it stays at 1 worker"
        self.scale(self._team.size - 1, by)
        return f"one fewer, {counted(self._team.size, 'worker')} now"

    def stop_slot(self, number: int, by: str = "stop") -> str:
        """Stop that worker for good; raises ``OrderError`` if it is the last, or is not there."""
        self._refuse_while_stopping()
        place = self._place(number)
        if self._team.size == 1:
            raise OrderError(f"worker {number} is the last one: stop the supervisor itself")
        self._team.retire(place, Cause(Kind.ASKED, f"was asked to stop ({by})"))
        return f"worker {number} stops; {counted(self._team.size, 'worker')} now"

    def quiet(self, is_on: bool) -> str:
        """No worker claims anything new, or all do again; the tasks that run go on."""
        self._refuse_while_stopping()
        self._spawner.is_quiet = is_on
        for child in self._team.children:
            child.tell_quiet(is_on)
        return "workers are quiet: running tasks go on, nothing new is claimed" if is_on else "workers claim again"

    def dump(self) -> str:
        """Every worker logs where each of its tasks stands."""
        for child in self._team.children:
            child.tell_dump()
        return f"{counted(len(self._team.children), 'worker')} to tell where each task stands"

    def restart(self, number: int | None = None, by: str = "restart") -> str:
        """Replace all workers, or one, one at a time, each once its successor is ready. Code is loaded anew."""
        self._refuse_while_stopping()
        places = self._team.places if number is None else [self._place(number)]
        return self._reloading.replace(places, by)

    def reload(self, by: str = "reload") -> str:
        """Likewise, with the configuration read anew; raises ``OrderError`` if that cannot be used."""
        self._refuse_while_stopping()
        self._announce()
        try:
            self._reloading.read()
        except ConfigError as error:
            raise OrderError(f"the configuration cannot be used, so nothing changes: {error}") from error
        return self._reloading.begin(by)

    def begin_stop(self) -> None:
        """Nothing is started any more, and nothing more becomes of what was asked for."""
        self.is_stopping = True
        self._reloading.changes.stop()

    def _place(self, number: int) -> Place:
        for place in self._team.places:
            if place.number == number:
                return place
        numbers = ", ".join(str(place.number) for place in self._team.places)
        raise OrderError(f"there is no worker {number}; there are: {numbers}")

    def _refuse_while_stopping(self) -> None:
        if self.is_stopping or not self._team.size:
            raise OrderError("not now: the supervisor is starting or stopping")


def _shown(place: Place, child: Child | None) -> Slot:
    if child is None:
        return Slot(place.number, None, "empty", 0.0, place.restarts, 0, 0)
    stage, figures = child.stage.name.lower(), child.figures
    return Slot(place.number, child.pid, stage, child.uptime, place.restarts, child.running, child.done, figures)
