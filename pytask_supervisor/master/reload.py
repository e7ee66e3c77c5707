"""``Reload``: one reload or restart, from the order until all workers are replaced or it is given up.

New configuration counts from the first worker on that is ready with it; until then nothing is lost by going back.
"""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import Any

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.master.death_log import Cause, Kind
from pytask_supervisor.master.preloading import AppUser, Preloading
from pytask_supervisor.master.rolling import Purpose, Rolling, Wish
from pytask_supervisor.master.state import MasterState
from pytask_supervisor.master.worker_pool import Slot, WorkerPool
from pytask_supervisor.shared.exits import Exit
from pytask_supervisor.shared.logs import counted
from pytask_supervisor.shared.redact import redact

log = logging.getLogger("pytask.supervisor")


class Stage(Enum):
    """How far it has come; the last three are final."""

    LOADING = auto()  #: With ``--preload``: the fork server loads the app.
    WAITING = auto()  #: No successor was started yet.
    ROLLING = auto()  #: Workers are replaced, one after another.
    PROVEN = auto()  #: The first successor was ready, so the new configuration counts.
    SUPERSEDED = auto()  #: Later ones replace what it has not replaced; their end is its end.
    REPLACED = auto()  #: Each worker has a successor that is ready, and is gone.
    GIVEN_UP = auto()  #: The workers that were not replaced go on.
    STOPPING = auto()  #: The supervisor was told to stop before.


FINAL = (Stage.REPLACED, Stage.GIVEN_UP, Stage.STOPPING)
#: What ``pytaskctl`` is told, where it is not the name of the stage.
TOLD = {Stage.LOADING: "asked", Stage.WAITING: "asked", Stage.PROVEN: "rolling"}


class Reload(AppUser, Purpose):
    """``by`` is the name of what asked for it, ``config`` what it tries once the app is loaded."""

    def __init__(
        self,
        identity: str,
        by: str,
        asked: float,
        config: SupervisorConfig,
        *,
        state: MasterState,
        pool: WorkerPool,
        rolling: Rolling,
    ) -> None:
        self.identity = identity
        self.stage = Stage.WAITING
        self._by = by
        self._asked = asked
        self._state = state
        self._pool = pool
        self._rolling = rolling
        self._tried = config
        self._why = ""
        #: Slots that are to be filled again, those that were, and those of which it is not known yet.
        self._slots = self._replaced = self._open = 0
        #: Those that took slots over, oldest first. All are younger than this one.
        self._later: list[Reload] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.stage in FINAL

    # The story, in its order.

    def load(self, preloading: Preloading) -> str:
        """Have the app loaded ahead; all workers are replaced once it is. Returns a sentence."""
        self.stage = Stage.LOADING
        preloading.load_for(self, self._tried)
        return "the app is being loaded in a new process; the workers are replaced once it is loaded"

    def app_loaded(self) -> None:
        """See ``AppUser``."""
        self.stage = Stage.WAITING
        log.info("%s: the app is loaded; %s", self._by, self.roll_out(self._pool.slots))

    def app_failed(self, why: str, code: Exit) -> None:  # noqa: ARG002 - nothing ends by a reload
        """See ``AppUser``."""
        self._end(Stage.GIVEN_UP, why)
        log.error("%s is given up: %s; the workers go on with the app that they have", self._by, why)

    def roll_out(self, slots: list[Slot]) -> str:
        """Have these filled again, one after another. Returns a sentence."""
        self._slots = self._open = len(slots)
        self._state.tried = self._tried
        cause = Cause(Kind.RELOADED, f"was replaced ({self._by})")
        self._rolling.request([Wish(slot, cause, self) for slot in slots])
        return f"{counted(len(slots), 'worker')} to be replaced, one after another"

    def successor_started(self) -> None:
        """See ``Purpose``."""
        if self.stage is not Stage.PROVEN and not self.is_over:
            self.stage = Stage.ROLLING

    def successor_ready(self) -> None:
        """See ``Purpose``."""
        self._state.proven = self._tried
        if not self.is_over:
            self.stage = Stage.PROVEN

    def slot_replaced(self) -> None:
        """See ``Purpose``."""
        self._replaced += 1
        self._close_one()

    def slot_left_out(self) -> None:
        """See ``Purpose``."""
        self._close_one()

    # What may come in between.

    def slot_superseded(self, later: Purpose) -> None:
        """See ``Purpose``."""
        if not isinstance(later, Reload):
            self._replaced += 1
        elif later not in self._later:
            self._later.append(later)
        self._close_one()

    def loading_superseded(self, later: Reload) -> None:
        """The app is loaded again for another one, before this one had any slot filled."""
        self._later.append(later)
        self.settle()

    def successor_failed(self, slot: Slot, why: str) -> None:
        """See ``Purpose``: no other reload that waits would fare better."""
        left = sum(self._rolling.is_requested(other) for other in self._pool.slots)
        sentence = f"the new worker {slot.slot} {why}"
        others = [wish.purpose for wish in self._rolling.cancel(Kind.RELOADED)]
        for reload in (self, *others):
            if isinstance(reload, Reload):
                reload._give_up(sentence)
        more = f", and so do {left} more" if left else ""
        log.error("%s is given up: %s; the old one goes on%s", self._by, sentence, more)

    def empty_slot_failed(self, slot: Slot, why: str) -> None:
        """See ``Purpose``."""
        self._end(Stage.GIVEN_UP, f"worker {slot.slot} was not there, and the new one {why}")

    def master_stops(self) -> None:
        """Nothing more becomes of it."""
        self._end(Stage.STOPPING, "the supervisor was told to stop")

    def settle(self) -> None:
        """Take over what has become of the later ones, where it depends on them."""
        if self.is_over or self._open or not (self._slots or self._later):
            return
        if not all(later.is_over for later in self._later):
            self.stage = Stage.SUPERSEDED
            return
        for later in self._later:
            if later.stage is not Stage.REPLACED:
                self._end(later.stage, later._why)
                return
        if self._replaced or self._later:
            self.stage = Stage.REPLACED
        else:
            self._end(Stage.GIVEN_UP, "the workers that were to be replaced were stopped for good")

    def told(self) -> dict[str, Any]:
        """As ``pytaskctl`` gets it."""
        return {
            "id": self.identity,
            "by": self._by,
            "asked": self._asked,
            "state": TOLD.get(self.stage, self.stage.name.lower()),
            "why": self._why,
            "workers": self._slots,
            "replaced": self._replaced,
            "superseded_by": self._later[-1].identity if self._later else None,
        }

    def _close_one(self) -> None:
        self._open -= 1
        self.settle()

    def _give_up(self, why: str) -> None:
        # A worker that was started for this before, and is ready only now, proves nothing either.
        self._state.tried = self._tried = self._state.proven
        self._end(Stage.GIVEN_UP, why)

    def _end(self, stage: Stage, why: str) -> None:
        if not self.is_over:
            self.stage, self._why = stage, redact(why)
