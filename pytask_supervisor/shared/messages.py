"""Every message between the processes of one supervisor, its fields, and what they may hold.

Declared once, for both sides: who speaks brings what it says into these bounds, who listens takes nothing else. What
comes from a worker may be from the code of a task, which has the same descriptors, so it is believed only as far.

===================================== ==========================================================
up, from the child                    meaning
===================================== ==========================================================
``{"worker": id}``                    its id in Redis, said once, before it claims anything
``{"ready": true}``                   it waits for work now
``{"beat": figures}``                 each second, see ``process_stats.py``
``{"tally": figures}``                likewise: what was done since the last one, see ``tally.py``
``{"queues": lengths}``               how many ids stand in each queue, when asked
``{"warning": sentence}``             for the operator; the master says each sentence once
``{"failed": sentence, "detail"}``    why it is about to leave with an exit code other than 0
``{"handed_back": id, "count"}``      the order is carried out
``{"stopping": true}``                it was asked to stop, by whomever
``{"left": true}``                    its tasks are back in the queue: nothing is to be handed back; false: they are not
===================================== ==========================================================

===================================== ==========================================================
up, on the wire                       meaning
===================================== ==========================================================
``{"pulse": seconds}``                twice a second: how long the loop has been silent
``{"thread": number}``                first of all: as the kernel knows this thread
``{"blocked": words, "culprit": id}`` which task blocks the loop, and where; the id is empty where it is none
``{"hung": words, "seconds",          the loop is blocked for too long: kill us
"culprit": id}``
===================================== ==========================================================

===================================== ==========================================================
down, to the child                    meaning
===================================== ==========================================================
``{"hand_back": id}``                 put a dead worker's tasks back in the queue; ``culprit``, ``why``: by which task
                                      it hung, if it was killed for that
``{"quiet": true}``                   claim nothing new; false: claim again
``{"drain": seconds}``                claim nothing new, let short tasks end, then stop
``{"dump": true}``                    on both: log where each task stands
``{"count_queues": true}``            tell the lengths of the queues
``{"carry_on": true}``                no successor takes over yet: begin as many tasks again as it may
``{"requeue": true}``                 stop, without waiting for what tasks do in their ``stop``
===================================== ==========================================================

===================================== ==========================================================
from the fork server                  meaning
===================================== ==========================================================
``{"loaded": true, "warnings"}``      the app is loaded
``{"failed", "detail", "code"}``      it is not, and as what exit code
``{"pid": pid}``                      a worker was forked, as asked
``{"errno": number}``                 it could not be
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

#: Characters of a task's name and of a sentence, and of a traceback or a list of places. More tells more, and lets a
#: child fill more of the master's memory.
NAME, SENTENCE, PAGE = 200, 2000, 20_000
#: Names that a worker tells apart, the rest counting as one, and a few more: see ``pytask_core/worker/stats.py``.
MOST_NAMES = 110
#: Upper bounds of a histogram.
MOST_BOUNDS = 40

#: A number of things, of bytes, and a time span or a sum of such in seconds: thirty thousand years.
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


#: All may be missing, since the kernel may not tell them.
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
        """The message that a line is. Raises ``MisshapenError``."""
        said = parse(line)
        if not isinstance(said, dict):
            raise MisshapenError(f"no message: {bytes(line[:80])!r}")
        word = next(iter(said), "")
        if word not in self._messages:
            raise MisshapenError(f"no message begins so: {word[:80]!r}")
        self._messages[word].check(said, "it")
        return said

    def fit(self, message: Message) -> Message:
        """The same within its bounds. Raises ``KeyError`` where it is none of these messages."""
        fitting: Message = self._messages[next(iter(message))].fit(message)
        return fitting


def _one(word: str, shape: Shape, **optional: Shape) -> dict[str, Record]:
    return {word: Record({word: shape}, optional)}


#: What the loop of a child tells its master.
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
#: What the native thread beside it tells.
FROM_THREAD = Vocabulary(
    **_one("pulse", SECONDS),
    **_one("thread", Number(2**31, whole=True)),
    **_one("blocked", Text(SENTENCE), culprit=Text(2 * SENTENCE)),
    hung=Record({"hung": Text(SENTENCE), "seconds": SECONDS}, {"culprit": Text(2 * SENTENCE)}),
)
#: What the master tells a child, on either line.
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

# What pytaskctl takes from a supervisor, which may be of another version and have more to tell.

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
#: Workers that are shown: those that there can be, and as many that are leaving.
MOST_SHOWN = 5000
_SHOW = Record(
    {"supervisor": _SUPERVISOR, "workers": Rows(_SLOT, MOST_SHOWN), "ended": ByName(COUNT, 50, 24)},
    {"changes": Rows(CHANGE, 1000)},
    is_open=True,
)
#: By what was asked; whatever else is asked is an order.
ANSWERS = {
    "show": Record({"told": _SHOW}, is_open=True),
    "deaths": Record({"told": Rows(_DEATH, 1000)}, is_open=True),
}
#: What an order is answered with, and what is refused.
SAID = Record({"said": Text(PAGE)}, {"change": CHANGE}, is_open=True)
REFUSAL = Record({"refused": Text(PAGE)}, is_open=True)
