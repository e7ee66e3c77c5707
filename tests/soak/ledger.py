"""The ledger: what producers were told and which runs there were, in a file outside of the system under test.

Written by the app in every worker, by the traffic, the nemesis and the watch; read by the watch and the checker. One
line a record, each written by one ``os.write`` on a descriptor opened with ``O_APPEND``: what was written stays,
whatever is killed, and lines of several processes never mix.

Every record has ``t``, the machine's monotonic clock, which all processes share, and ``kind``:

==========  ====================================================================================================
tried       ``id``: a producer is about to start it
accepted    ``id``: the producer got its answer
doubt       ``id``: the producer got an error instead, so nobody knows
hopeless    ``id``: its producer knows that it cannot run, and that it must end as EXCEPTION without having run
asked       ``id``, ``verb``, ``version``: a client is about to stop, restart, reload or remove it
told        ``id``, ``verb``, ``version``, ``answer``: what it was told. Where several ask at once, both have ``call``
born        ``pid``: a worker has loaded the app
begin       ``run``, ``id``, ``worker``, ``token``, ``pid``, ``version``: the task's own code begins
end         ``run``, ``how``: it is over: returned, error, exception, stopped (``StopTask``) or killed (harder)
dead        ``pid``: the process is gone
frozen      ``pid``: SIGSTOP; ``thawed``: SIGCONT
forgot      ``since``, ``gone``: the server, gone then, is back without what was written since (0: with nothing)
fault       ``what``: a line of the nemesis
==========  ====================================================================================================
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]

#: The environment's name for the path, in workers.
VARIABLE = "SOAK_LEDGER"


class Ledger:
    """A writer. Opened anew by every process, after it was forked."""

    def __init__(self, path: Path | str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: str, **fields: Any) -> None:
        """Append a record; it is safe from a ``kill -9`` when this returns."""
        line = json.dumps({"t": round(time.monotonic(), 6), "kind": kind, **fields}) + "\n"
        os.write(self._fd, line.encode())

    def close(self) -> None:
        """Give the descriptor back; again: nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Tail:
    """Reads a ledger while it grows."""

    def __init__(self, path: Path | str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._rest = b""

    def read(self) -> list[Record]:
        """The records since the last call."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path | str) -> list[Record]:
    """All records."""
    tail = Tail(path)
    try:
        return tail.read()
    finally:
        tail.close()
