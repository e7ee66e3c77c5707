"""Every message between the processes of one supervisor, its fields, and what they may hold.

Both sides use one declaration: the sender brings each message into these bounds, and the receiver takes nothing else.
The code of a task has the worker's descriptors too and may write to them, so the master trusts a worker only within
bounds.

===================================== ==========================================================
up, from the child                    meaning
===================================== ==========================================================
``{"worker": id}``                    its id in Redis, sent once, before it claims anything
``{"ready": true}``                   it is ready for work
``{"beat": figures}``                 each second, see ``process_stats.py``
``{"tally": figures}``                each second: what was done since the last one, see ``master/stats.py``
``{"queues": lengths}``               how many ids stand in each queue, when asked
``{"warning": sentence}``             for the operator; the master logs each sentence once
``{"failed": sentence, "detail"}``    why it is about to end with an exit code other than 0
``{"handed_back": id, "count"}``      it has handed the claims back, as told
``{"stopping": true}``                it was asked to stop, by the master or another process
``{"left": true}``                    its tasks are back in the queue; false: a sibling must hand them back
===================================== ==========================================================

===================================== ==========================================================
up, on the wire                       meaning
===================================== ==========================================================
``{"pulse": seconds}``                twice a second: how long the loop has been silent
``{"thread": number}``                first of all: the kernel's number of this thread
``{"blocked": words, "culprit": id}`` which task blocks the loop, and where; the id is empty if it is not a task
``{"hung": words, "seconds",          the loop has been blocked for too long: kill us
"culprit": id}``
===================================== ==========================================================

===================================== ==========================================================
down, to the child                    meaning
===================================== ==========================================================
``{"hand_back": id}``                 put a dead worker's tasks back in the queue; ``culprit``, ``why``: the task that
                                      blocked it, if it was killed for a hang
``{"quiet": true}``                   claim nothing new; false: claim again
``{"drain": seconds}``                claim nothing new, let short tasks end, then stop
``{"dump": true}``                    on both: log where each task stands
``{"count_queues": true}``            tell the lengths of the queues
``{"carry_on": true}``                a successor is not ready yet: start as many tasks again as ``--max-tasks`` allows
``{"requeue": true}``                 stop, without waiting for the ``stop`` of tasks
===================================== ==========================================================

===================================== ==========================================================
from the fork server                  meaning
===================================== ==========================================================
``{"loaded": true, "warnings"}``      the app is loaded
``{"failed", "detail", "code"}``      it is not; why, and with which exit code
``{"pid": pid}``                      a worker was forked, as asked
``{"errno": number}``                 it could not be forked
===================================== ==========================================================
"""

from __future__ import annotations

from typing import Any

from pytask_supervisor.shared.shapes import (
    ByName,
    Flag,
    MisshapenError,
    Number,
    Perhaps,
    Record,
    Rows,
    Shape,
    Text,
    parse,
    refuse,
)

Message = dict[str, Any]

#: Characters of a task's name, of a sentence, and of a traceback or a list of places. More shows more, and lets a child
#: fill more of the master's memory.
NAME, SENTENCE, PAGE = 200, 2000, 20_000
#: Names that a worker counts one by one, and a few more; it counts the others as one: see
#: ``pytask_core/worker/stats.py``.
MOST_NAMES = 110
#: Upper bounds of a histogram.
MOST_BOUNDS = 40

#: A number of things, of bytes, and a time span (or a sum of time spans) in seconds: up to thirty thousand years.
COUNT, BYTES, SECONDS = Number(whole=True), Number(2**60, whole=True), Number(1e12)
#: Characters of a worker's id: a host's name, a process id, a mark.
WORKER_ID = Text(100)


class ByBound(ByName):
    """Counts by the upper bound of what they count, which is a number or ``+Inf``."""

    def check(self, value: Any, where: str) -> None:
        """See ``Shape``."""
        super().check(value, where)
        for bound in value:
            if not _is_bound(bound):
                raise refuse(bound, f"a name in {where}", "a bound in seconds")


def _is_bound(text: str) -> bool:
    try:
        return float(text) >= 0  # Not NaN.
    except ValueError:
        return False


#: Each may be missing, since the kernel may not tell it.
BEAT = Record(
    {},
    {
        "at": SECONDS,
        "running": COUNT,
        "done": COUNT,
        "spent": Flag(),
        "names": ByName(COUNT, MOST_NAMES, NAME),
        "rate": Number(),
        "lag": SECONDS,
        "memory": BYTES,
        "rss": BYTES,
        "cpu": Number(1e6),
        "up": Flag(),
    },
)
_HISTOGRAM = Record({"sum": SECONDS, "counts": ByBound(COUNT, MOST_BOUNDS, 24)})
_OF_NAME = Record({"ended": ByName(COUNT, 10, 24), "run": _HISTOGRAM, "queue": _HISTOGRAM})
TALLY = Record(
    {"claimed": COUNT, "cpu": SECONDS, "tasks": ByName(_OF_NAME, MOST_NAMES, NAME)},
    {"dropped": COUNT},
)
QUEUES = ByName(COUNT, 50, 50)


class Vocabulary:
    """The messages of one line in one direction, each known by its first field."""

    def __init__(self, **messages: Record) -> None:
        self._messages = messages

    def read(self, line: bytes | bytearray) -> Message:
        """Read a line as a message. Raises ``MisshapenError``."""
        said = parse(line)
        if not isinstance(said, dict):
            raise MisshapenError(f"this is not a message: {bytes(line[:80])!r}")
        word = next(iter(said), "")
        if word not in self._messages:
            raise MisshapenError(f"unknown message {word[:80]!r}")
        self._messages[word].check(said, "it")
        return said

    def fit(self, message: Message) -> Message:
        """The same within its bounds. Raises ``KeyError`` if it is not one of these messages."""
        fitting: Message = self._messages[next(iter(message))].fit(message)
        return fitting


def _one(word: str, shape: Shape, **optional: Shape) -> dict[str, Record]:
    return {word: Record({word: shape}, optional)}


#: From the loop of a child to the master.
TO_MASTER = Vocabulary(
    **_one("worker", WORKER_ID),
    **_one("ready", Flag()),
    **_one("beat", BEAT),
    **_one("tally", TALLY),
    **_one("queues", QUEUES),
    **_one("warning", Text(SENTENCE)),
    **_one("failed", Text(SENTENCE), detail=Text(PAGE)),
    handed_back=Record({"handed_back": WORKER_ID, "count": COUNT}),
    **_one("stopping", Flag()),
    **_one("left", Flag()),
)
#: From the native thread beside it to the master.
FROM_THREAD = Vocabulary(
    **_one("pulse", SECONDS),
    **_one("thread", Number(2**31, whole=True)),
    **_one("blocked", Text(SENTENCE), culprit=Text(2 * SENTENCE)),
    hung=Record({"hung": Text(SENTENCE), "seconds": SECONDS}, {"culprit": Text(2 * SENTENCE)}),
)
#: From the master to a child, on either line.
TO_CHILD = Vocabulary(
    **_one("hand_back", WORKER_ID, culprit=Text(2 * SENTENCE), why=Text(SENTENCE)),
    **_one("quiet", Flag()),
    **_one("drain", SECONDS),
    **_one("dump", Flag()),
    **_one("count_queues", Flag()),
    **_one("carry_on", Flag()),
    **_one("requeue", Flag()),
)
#: What the process that has the app loaded tells.
FROM_FORK_SERVER = Vocabulary(
    loaded=Record({"loaded": Flag(), "warnings": Rows(Text(SENTENCE), 50)}),
    failed=Record({"failed": Text(SENTENCE), "detail": Text(8000), "code": Number(255, whole=True)}),
    **_one("pid", Number(2**31, 2, whole=True)),
    **_one("errno", Number(4095, whole=True)),
)

# What pytaskctl takes from a supervisor. That may be of another version and send more.

_SLOT = Record(
    {
        "slot": COUNT,
        "pid": Perhaps(COUNT),
        "stage": Text(20),
        "uptime": SECONDS,
        "restarts": COUNT,
        "running": COUNT,
        "done": COUNT,
        "figures": Record({}, BEAT.optional, is_open=True),
    },
    is_open=True,
)
_SUPERVISOR = Record(
    {
        "pid": COUNT,
        "version": Text(50),
        "label": Text(SENTENCE),
        "uptime": SECONDS,
        "quiet": Flag(),
        "stopping": Flag(),
    },
    is_open=True,
)
#: Unix seconds that a calendar has, until the year 9000.
_WHEN = Number(2.2e11)
_DEATH = Record({"when": _WHEN, "text": Text(PAGE), "uptime": SECONDS, "running": COUNT}, is_open=True)
#: A reload or restart and what became of it, see ``changes.py``.
CHANGE = Record(
    {
        "id": Text(50),
        "by": Text(SENTENCE),
        "asked": _WHEN,
        "state": Text(20),
        "why": Text(PAGE),
        "workers": COUNT,
        "replaced": COUNT,
        "superseded_by": Perhaps(Text(50)),
    },
    is_open=True,
)
#: Workers that are shown: all that there can be, and as many that are leaving.
MOST_SHOWN = 5000
_SHOW = Record(
    {"supervisor": _SUPERVISOR, "workers": Rows(_SLOT, MOST_SHOWN), "ended": ByName(COUNT, 50, 24)},
    {"changes": Rows(CHANGE, 1000)},
    is_open=True,
)
#: The answer to each question; everything else that is asked is an order.
ANSWERS = {
    "show": Record({"told": _SHOW}, is_open=True),
    "deaths": Record({"told": Rows(_DEATH, 1000)}, is_open=True),
}
#: The answer to an order, and a refusal.
SAID = Record({"said": Text(PAGE)}, {"change": CHANGE}, is_open=True)
REFUSAL = Record({"refused": Text(PAGE)}, is_open=True)
