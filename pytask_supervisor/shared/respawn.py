"""``RespawnPolicy``: when the slot of a dead worker is filled again. Pure: deaths in, seconds out."""

from __future__ import annotations

import random
from collections.abc import Callable

#: Seconds a worker must have been ready to prove that the app works.
#: Shorter: a worker that dies soon after its start keeps a hopeless supervisor alive.
#: Longer: a crash loop is found later.
PROVEN_AFTER = 1.0
#: Seconds a worker must have been ready for its end to count as bad luck; all earlier deaths are forgotten.
#: Shorter: a worker that dies every few seconds is forked again and again without a pause.
#: Longer: tasks that kill their worker now and then slow down the recovery of all others.
LONG_RUN = 10.0
#: Workers in a row that may die between these two times and are replaced at once, since their tasks wait for that.
FREE = 3
#: Deaths of one place in a row, none of them proven, after which the supervisor gives up. Ten take
#: about half a minute: enough for a deployment that is exchanging files to end, and soon enough for an operator to
#: notice.
DEATHS_TO_GIVE_UP = 10
#: The first pause, by how much each further one is longer, and the longest: capacity comes back
#: within half a minute once the cause is gone.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.1, 1.9, 30.0
#: The longest pause if the fork itself fails: the machine lacks something, and may have it again at any moment.
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
        """How long to wait before the next fork, if the last worker was ready for ``ready_for`` seconds."""
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
        """Whether so many unproven workers died in a row that another try does not help."""
        return self._unproven >= DEATHS_TO_GIVE_UP

    def _pause(self, number: int, longest: float) -> float:
        # The exponent is bounded, since a place may die for days.
        pause = min(longest, FIRST_PAUSE * GROWTH ** min(number - 1, 20))
        # Between half and all of it: sixteen workers that died together do not come back together.
        return self._pace * pause * (1 + self._jitter()) / 2
