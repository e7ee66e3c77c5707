"""``RespawnPolicy``: when a dead worker's place is filled again. Pure: deaths in, seconds out."""

from __future__ import annotations

import random
from collections.abc import Callable

#: Seconds a worker must have been ready to prove that it works; its successor starts at once.
#: Shorter: a worker that dies soon after its start is forked again and again without a brake.
#: Longer: tasks that kill their worker now and then slow down everybody's recovery.
PROVEN_AFTER = 1.0
#: Deaths of one place in a row, none of them proven, after which trying again is no use. Ten take
#: about half a minute: enough for a deployment that swaps files under us to end, and soon enough
#: for whoever watches the supervisor to notice.
DEATHS_TO_GIVE_UP = 10
#: The first pause, by how much each further one is longer, and the longest: capacity comes back
#: within half a minute once the cause is gone.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.1, 1.9, 30.0


class RespawnPolicy:
    """The memory of one place: how many workers in a row died there before they proved anything."""

    def __init__(self, jitter: Callable[[], float] = random.random, pace: float = 1.0) -> None:
        """``jitter`` gives 0 to 1; ``pace`` 0.1 makes every pause a tenth."""
        self._jitter = jitter
        self._pace = pace
        self._deaths = 0

    def pause_after(self, ready_for: float) -> float:
        """How long to wait before the next fork, the last worker having been ready for so long."""
        if ready_for >= PROVEN_AFTER:
            self._deaths = 0
            return 0.0
        self._deaths += 1
        # The exponent is bounded, since a place may die for days.
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** min(self._deaths - 1, 20))
        # Between half and all of it: sixteen workers that died together do not come back together.
        return self._pace * pause * (1 + self._jitter()) / 2

    @property
    def is_hopeless(self) -> bool:
        """Whether so many died in a row that another try is no use."""
        return self._deaths >= DEATHS_TO_GIVE_UP
