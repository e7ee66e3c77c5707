"""``Changes``: the outcome of each reload and restart, for callers that wait for it.

``reloading`` begins one, ``rolling`` tells how it goes, ``control`` shows them.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pytask_supervisor.shared.redact import redact

#: How many are remembered. More: a client that asks rarely still finds its own. Fewer: a shorter answer to ``show``.
MOST = 50


class State(StrEnum):
    """How far a change has come; the last three are final."""

    ASKED = "asked"  #: No worker has been started for it, or the app is being loaded.
    ROLLING = "rolling"
    SUPERSEDED = "superseded"  #: Later ones replace what it has not replaced; their end is its end.
    REPLACED = "replaced"  #: Each worker has a successor that is ready, and is gone.
    GIVEN_UP = "given_up"
    STOPPING = "stopping"  #: The supervisor was told to stop before.


class Change:
    """One reload or restart. ``by`` is the name of what asked for it."""

    def __init__(self, identity: str = "", by: str = "", asked: float = 0.0) -> None:
        self.identity = identity
        self.state = State.ASKED
        self._by = by
        self._asked = asked
        self._why = ""
        #: Places that were to be filled anew, those that were, and those of which it is not known yet.
        self._workers = self._replaced = self._open = 0
        #: Those that took slots over, oldest first. All are younger than this one.
        self._later: list[Change] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in (State.REPLACED, State.GIVEN_UP, State.STOPPING)

    def expect(self, workers: int) -> None:
        """So many slots are to be filled anew, each of which is replaced, left out or superseded one day."""
        self._workers = self._open = workers

    def begun(self) -> None:
        """A successor was started."""
        if not self.is_over:
            self.state = State.ROLLING

    def replaced(self) -> None:
        """A slot has a new worker, and its old one is gone."""
        self._replaced += 1
        self._close_one()

    def left_out(self) -> None:
        """A slot is not to be filled any more."""
        self._close_one()

    def superseded(self, later: Change) -> None:
        """A slot is filled anew for another one."""
        if later not in self._later:
            self._later.append(later)
        self._close_one()

    def loading_superseded(self, later: Change) -> None:
        """The app is loaded anew for another one, before this one had any slot filled."""
        self._later.append(later)
        self.settle()

    def give_up(self, why: str) -> None:
        """The workers that are not replaced stay; ``why`` is a clause."""
        self._end(State.GIVEN_UP, why)

    def stop(self) -> None:
        """The supervisor stops."""
        self._end(State.STOPPING, "the supervisor was told to stop")

    def settle(self) -> None:
        """Take over what has become of the later ones, where it depends on them."""
        if self.is_over or self._open or not (self._workers or self._later):
            return
        if not all(later.is_over for later in self._later):
            self.state = State.SUPERSEDED
            return
        for later in self._later:
            if later.state is not State.REPLACED:
                self._end(later.state, later._why)
                return
        if self._replaced or self._later:
            self.state = State.REPLACED
        else:
            self.give_up("the workers that were to be replaced were stopped for good")

    def told(self) -> dict[str, Any]:
        """As ``pytaskctl`` gets it."""
        return {
            "id": self.identity,
            "by": self._by,
            "asked": self._asked,
            "state": str(self.state),
            "why": self._why,
            "workers": self._workers,
            "replaced": self._replaced,
            "superseded_by": self._later[-1].identity if self._later else None,
        }

    def _close_one(self) -> None:
        self._open -= 1
        self.settle()

    def _end(self, state: State, why: str) -> None:
        if not self.is_over:
            self.state, self._why = state, redact(why)


class Changes:
    """The last ones."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._changes: deque[Change] = deque(maxlen=MOST)
        #: Tells ours from those of a supervisor that answers at the same path later.
        self._mark = secrets.token_hex(4)
        self._number = 0

    def begin(self, by: str) -> Change:
        """Another one was asked for."""
        self._number += 1
        change = Change(f"{self._mark}-{self._number}", by, self._wall_clock())
        self._changes.append(change)
        return change

    def stop(self) -> None:
        """Nothing more becomes of those that are not over."""
        for change in self._settled():
            change.stop()

    def told(self) -> list[dict[str, Any]]:
        """All as ``pytaskctl`` gets them, oldest first."""
        self._settled()
        return [change.told() for change in self._changes]

    def _settled(self) -> list[Change]:
        # The youngest first, since the end of one may depend on younger ones.
        for change in reversed(self._changes):
            change.settle()
        return list(self._changes)
