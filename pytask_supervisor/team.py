"""``Team``: the places on this server, who sits in them, and when an empty one is filled again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytask_supervisor.child import Child, Stage
from pytask_supervisor.respawn import PROVEN_AFTER, RespawnPolicy
from pytask_supervisor.spawner import Closable

log = logging.getLogger("pytask.supervisor")


@dataclass
class Place:
    """Worker number so and so, whoever that is just now."""

    number: int
    policy: RespawnPolicy
    child: Child | None = None
    #: When to fork the next one; None while somebody sits there.
    due: float | None = None
    #: Not to be filled again.
    is_retired: bool = False


class Team:
    """Knows numbers and times; what a death means is the supervisor's to judge."""

    def __init__(
        self,
        spawn: Callable[[int, Iterable[Closable]], Child],
        *,
        clock: Callable[[], float] = time.monotonic,
        policy: Callable[[], RespawnPolicy] = RespawnPolicy,
    ) -> None:
        self._spawn = spawn
        self._clock = clock
        self._policy = policy
        self._places: dict[int, Place] = {}

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return sum(not place.is_retired for place in self._places.values())

    @property
    def children(self) -> list[Child]:
        """All that live, also those on their way out."""
        return [place.child for place in self._places.values() if place.child]

    @property
    def ready(self) -> list[Child]:
        """Those that work."""
        return [child for child in self.children if child.stage is Stage.READY]

    @property
    def is_proven(self) -> bool:
        """Whether some worker has been ready for long enough to show that the app works."""
        return any(child.ready_for >= PROVEN_AFTER for child in self.ready)

    def find(self, pid: int) -> Child | None:
        """The child with that process id."""
        return next((child for child in self.children if child.pid == pid), None)

    def grow(self) -> None:
        """One place more, to be filled at once; it takes the lowest free number."""
        number = next(n for n in range(1, len(self._places) + 2) if n not in self._places)
        self._places[number] = Place(number, self._policy(), due=self._clock())

    def shrink(self) -> None:
        """One place less: the newest."""
        last = max(n for n, place in self._places.items() if not place.is_retired)
        self._retire(self._places[last])

    def close(self) -> None:
        """No place is filled any more, and everybody is asked to leave."""
        for place in list(self._places.values()):
            self._retire(place)

    def fill_due(self, foreign: Iterable[Closable]) -> None:
        """Fork for each place whose time has come."""
        for place in self._places.values():
            if place.due is not None and place.due <= self._clock():
                self._fill(place, foreign)

    def next_due(self) -> float | None:
        """When ``fill_due`` has something to do."""
        return min((p.due for p in self._places.values() if p.due is not None), default=None)

    def pause_before(self, place: Place) -> float:
        """Seconds until the place is filled again."""
        return 0.0 if place.due is None else max(0.0, place.due - self._clock())

    def bury(self, child: Child) -> Place:
        """Its place is empty now, and due after a pause unless nobody is to follow."""
        place = self._places[child.slot]
        place.child = None
        child.channel.close()
        if place.is_retired:
            del self._places[place.number]
        else:
            place.due = self._clock() + place.policy.pause_after(child.ready_for)
        return place

    def _fill(self, place: Place, foreign: Iterable[Closable]) -> None:
        channels = [child.channel for child in self.children]
        try:
            place.child = self._spawn(place.number, (*channels, *foreign))
            place.due = None
        except OSError as error:
            pause = place.policy.pause_after(0.0)
            place.due = self._clock() + pause
            log.error(
                "worker %s could not be started: %s; the next attempt is in %.1f s",
                place.number,
                error,
                pause,
            )

    def _retire(self, place: Place) -> None:
        place.is_retired = True
        place.due = None
        if place.child is None:
            self._places.pop(place.number, None)
        else:
            place.child.stop()
