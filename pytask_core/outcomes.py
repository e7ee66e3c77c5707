"""The words in which the Lua scripts and Python speak of a task, each once. The scripts take them from here.

A *decision* (``store/lua/decide/``) looks at the hash of one task, changes it, and answers with an :class:`Outcome`.
Where the id goes then says :data:`PLACES`. docs/design.rst tells how to add a decision, or an outcome.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """What a decision has made of a task."""

    QUEUED = "queue"  #: waits, and is new, so that no list can know its id
    AGAIN = "again"  #: waits, and was there before: its id may stand in the task set, and in the queue
    WAITS = "waits"  #: waited already, so its id ought to stand in the queue
    BACK = "WAIT"  #: waits: its worker has given it back, or it was taken from that worker
    BACK_BEFORE = "WAIT before"  #: waits already, given back or taken before
    STOPPED = "STOPPED"  #: is stopped
    STOPPED_HALF = "stopped half"  #: is stopped, between the steps of its start: its hash expires yet
    STOPPED_BEFORE = "stopped before"  #: was stopped already
    ENDED = "end"  #: has ended
    ENDED_BEFORE = "end again"  #: had ended already, so its id may stand in the end queue
    KEPT = "keep"  #: has ended, and stays findable in the task set
    KEPT_BEFORE = "keep before"  #: had ended already, and stays findable
    GONE = "GONE"  #: has no hash any more
    GONE_BEFORE = "GONE before"  #: had no hash any more already
    CLEANED = "cleaned"  #: had ended, and its hash is gone or soon will be
    MISSING = "missing"  #: stands in the task set and has no hash
    UNKNOWN = "unknown"  #: there is no such task
    WRONG_TYPE = "wrong type"  #: its key holds no hash
    TOLD = "told"  #: runs, and its worker is told
    RUNS = "runs"  #: runs, and is left alone
    OTHER = "other"  #: is in a state in which nothing is to be done
    FINE = ""  #: is well where it is
    LOST = "lost"  #: is no longer the worker's own
    OTHER_CLAIM = "other claim"  #: is no longer that claim's: it runs in the same worker's hands, under another claim
    LEFT = "left"  #: is just leaving the worker's hands
    ELSEWHERE = "elsewhere"  #: is another's by now, and belongs into the task set
    PAST = "past"  #: is another's by now, and does not belong there
    ASK = "ask"  #: depends on the lease of its owner, which is to be asked for


class Passed(StrEnum):
    """Why a claim passes an id over."""

    CLAIMED = ""  #: it does not
    MISSING = "missing"  #: it has no hash
    EARLY = "early"  #: it has no hash yet
    WRONG_TYPE = "wrong type"  #: its key holds no hash
    RUNNING = "running"  #: it runs already
    LOCAL = "local"  #: it belongs to one worker
    STOPPED = "stopped"  #: it was stopped while it waited
    REMOVED = "removed"  #: it was removed while it waited
    ENDED = "ended"  #: it has ended, and the entry came late
    CHANGED = "changed"  #: it has had another owner since it was looked at
    LATER = "later"  #: this worker must not run it beside another task, so it goes back to the queue


class Entry(StrEnum):
    """Who pushed an entry of the new queue, in many slots."""

    OURS = "ours"  #: we did
    SPARE = "spare"  #: it is to start nothing
    FOREIGN = ""  #: another program did


class Dealt(StrEnum):
    """What a claim did with an entry of the inbox, in many slots."""

    CLAIMED = "claimed"  #: its task runs
    PASSED = "passed"  #: it starts nothing
    LATER = "later"  #: it goes back to the queue
    EARLY = "early"  #: its id is to be looked at again


class Push(StrEnum):
    """How an id is pushed to the new queue, in many slots."""

    MUST = "must"  #: its task was just made to wait: a worker that takes an entry of it now must leave that
    LOOK = "look"  #: the same, and another program may have pushed it
    ENSURE = "ensure"  #: it waited already, so an entry that is just being taken will do


class Parking(StrEnum):
    """What the scripts answer of an id that is parked, since no worker knows the name of its task."""

    FIRST = "new"  #: it is the first of that name
    MORE = ""  #: others are parked under that name


class Mark(StrEnum):
    """What may stand beside the claim tokens that ``holders`` notes of an id, in many slots."""

    STAYS = "+"  #: the id stays in the task set
    LEAVES = "-"  #: it leaves the set with the last token
    ALONE = "="  #: before a token: that claim alone, and not the earlier ones of its worker


class Place(NamedTuple):
    """Where the id of a task is once a decision is carried out. What is not named here stays as it was."""

    queue: Push | None = None  #: it goes to the new queue
    ends: bool = False  #: it goes to the end queue
    active: bool | None = None  #: whether it stands in the task set
    #: In many slots, the hash expires until the id is where it is to be, so that it then has to be made to last.
    half: bool = False
    freed: bool = False  #: it was taken out of its worker's hands
    #: The decision was made before. One slot has put the id there in the same moment; in many slots the steps are done
    #: again, since they may be missing.
    before: bool = False
    #: Others have taken the task, or may have: its worker is refused, unless it finds what it has asked for.
    others: bool = False


#: Where ids go. The scripts of one slot take it from here (``PLACE`` in ``placing.lua``), and so does the ``Placer`` of
#: many slots. After an outcome that is not here the id stays where it is.
PLACES: dict[str, Place] = {
    Outcome.QUEUED: Place(queue=Push.MUST, half=True),
    Outcome.AGAIN: Place(queue=Push.LOOK, active=False, half=True),
    Outcome.WAITS: Place(queue=Push.ENSURE, active=False, half=True),
    Outcome.BACK: Place(queue=Push.MUST, active=False, freed=True),
    Outcome.BACK_BEFORE: Place(queue=Push.MUST, active=False, before=True, others=True),
    Outcome.STOPPED: Place(active=True, freed=True),
    Outcome.STOPPED_HALF: Place(active=True, half=True),
    Outcome.STOPPED_BEFORE: Place(active=True, before=True, others=True),
    Outcome.ENDED: Place(ends=True, active=False),
    Outcome.ENDED_BEFORE: Place(ends=True, active=False, before=True),
    Outcome.KEPT: Place(active=True),
    Outcome.KEPT_BEFORE: Place(active=True, before=True),
    Outcome.GONE: Place(active=False, freed=True),
    Outcome.GONE_BEFORE: Place(active=False, before=True, others=True),
    Outcome.MISSING: Place(active=False),
    Outcome.PAST: Place(active=False, before=True),
    Outcome.LOST: Place(others=True),
    Outcome.OTHER_CLAIM: Place(others=True),
}

#: The same by the word that a script answers; looked up once and more for each task.
_BY_WORD: dict[str, Place] = {**PLACES}
_NOWHERE = Place()


def place_of(outcome: str) -> Place:
    """Return where an id goes after an outcome."""
    return _BY_WORD.get(outcome, _NOWHERE)
