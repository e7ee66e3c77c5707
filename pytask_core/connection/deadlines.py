"""``Deadlines``: the moment after which a server must refuse what a client has sent.

A command may reach its server long after the caller got a timeout: the network delivers it late, or the server
was frozen. It would undo what was done since. So each script that changes a task for a client carries a moment of the
server's own clock, before which the caller gets no error, and after which the script does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

#: Seconds that a command may take to be carried out. Less than any of our sockets waits for an answer. Longer bears
#: slower networks, shorter keeps a caller waiting less where the connection breaks after the command was sent.
VALID = 1.9

#: Seconds for which a look at a server's clock is good: so long two clocks drift by some milliseconds.
MEASURE_AGAIN = 30.0

#: With what ``deadline.lua`` begins its refusal.
_LATE = "LATE "


def is_late(answer: Any) -> bool:
    """Whether a server has refused a script since its time was over. It has done nothing."""
    return isinstance(answer, ResponseError) and str(answer).startswith(_LATE)


class Deadlines:
    """The clocks of the servers that one client speaks to, as far as they are known.

    What is known is kept with each connection: behind the same name or Sentinel may be another server tomorrow.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: How often what was known has been given up.
        self._era = 0

    def next(self, connection: Any) -> int:
        """Return until when what is sent now may be carried out, in milliseconds of the server's clock.

        Args:
            connection: one of a :class:`.Pool`, over which that goes. The server is asked for its time first, where
                that is not known well enough.
        """
        era, looked, ahead = connection.server_clock or (self._era, float("-inf"), 0.0)
        now = self._clock()
        if era != self._era or now - looked > MEASURE_AGAIN:
            connection.send_packed_command(connection.pack_command("TIME"))
            seconds, micros = connection.read_response()
            now = self._clock()
            # The answer was under way for a while, so the server's clock shows more by now: a deadline comes rather too
            # soon than too late.
            ahead = int(seconds) + int(micros) / 1e6 - now
            connection.server_clock = self._era, now, ahead
        return int((now + ahead + VALID) * 1000)

    def forget(self) -> None:
        """Look at the clocks again: one of them was set, or a server is slow."""
        self._era += 1

    def sit_out(self, sent: float) -> None:
        """Wait until what was sent at that time, by our clock, is carried out no more."""
        time.sleep(max(0.0, sent + VALID - self._clock()))

    def now(self) -> float:
        """Return the time by our clock."""
        return self._clock()
