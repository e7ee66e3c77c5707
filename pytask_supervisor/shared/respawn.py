"""``RespawnPolicy``: when the slot of a dead worker is filled again. Pure: deaths in, seconds out."""

from __future__ import annotations

import random
from collections.abc import Callable

#: Seconds a worker must have been ready to prove that the app works.
#: Shorter: a worker that dies soon after its start keeps a hopeless supervisor alive.
#: Longer: a crash loop is found later.
PROVEN_AFTER = 1.0
#: Seconds a worker must have been ready for its end to count as bad luck; all deaths before are forgotten.
#: Shorter: one that dies every few seconds is forked again and again without a brake.
#: Longer: tasks that kill their worker now and then slow down everybody's recovery.
LONG_RUN = 10.0
#: Workers in a row that may die between these two and are followed at once: the tasks that they held wait for them.
FREE = 3
#: Deaths of one place in a row, none of them proven, after which trying again is no use. Ten take
#: about half a minute: enough for a deployment that swaps files under us to end, and soon enough
#: for whoever watches the supervisor to notice.
DEATHS_TO_GIVE_UP = 10
#: The first pause, by how much each further one is longer, and the longest: capacity comes back
#: within half a minute once the cause is gone.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.1, 1.9, 30.0
#: The longest pause where the fork itself fails: the machine lacks something, and may have it again at any moment.
LONGEST_WITHOUT_FORK = 3.0


class RespawnPolicy:
    """The memory of one place: how many workers in a row died there before they had run for long."""

    def __init__(self, jitter: Callable[[], float] = random.random, pace: float = 1.0) -> None:
        """``jitter`` gives 0 to 1; ``pace`` 0.1 makes every pause a tenth."""
        self._jitter = jitter
        self._pace = pace
        self._unproven = 0
        self._short = 0
        self._without_fork = 0

    def pause_after(self, ready_for: float) -> float:
        """How long to wait before the next fork, the last worker having been ready for so long."""
        self._without_fork = 0
        if ready_for >= LONG_RUN:
            self._unproven = self._short = 0
            return 0.0
        if ready_for >= PROVEN_AFTER:
            self._unproven = 0
            self._short += 1
            return 0.0 if self._short <= FREE else self._pause(self._short - FREE, LONGEST_PAUSE)
        self._unproven += 1
        self._short += 1
        return self._pause(max(self._unproven, self._short - FREE), LONGEST_PAUSE)

    def pause_without_fork(self) -> float:
        """How long to wait after a fork that the machine refused."""
        self._without_fork += 1
        return self._pause(self._without_fork, LONGEST_WITHOUT_FORK)

    @property
    def is_hopeless(self) -> bool:
        """Whether so many died in a row, none of them proven, that another try is no use."""
        return self._unproven >= DEATHS_TO_GIVE_UP

    def _pause(self, number: int, longest: float) -> float:
        # The exponent is bounded, since a place may die for days.
        pause = min(longest, FIRST_PAUSE * GROWTH ** min(number - 1, 20))
        # Between half and all of it: sixteen workers that died together do not come back together.
        return self._pace * pause * (1 + self._jitter()) / 2
