"""``Book``: the ledger's records, put together: runs with their beginning and end, answers, deaths. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.soak.ledger import Record

#: The end of a run that has none yet.
NEVER = float("inf")


@dataclass(slots=True)
class Run:
    """One run of a task's own code."""

    run: str
    id: str
    worker: str
    token: str
    pid: int
    version: int
    began: float
    ended: float = NEVER
    how: str | None = None  #: None: it was cut off by the death of its process, or is not over
    ends: int = 0  #: how often it said that it ended


@dataclass(slots=True)
class Asked:
    """One command of a client, and what it was told: None where it got no answer."""

    id: str
    verb: str
    version: int
    asked: float
    told: float = NEVER
    answer: bool | None = None


@dataclass(slots=True)
class Loss:
    """A server that came back without what was written to it since some time."""

    since: float
    gone: float
    back: float


@dataclass
class Book:
    """What the ledger says."""

    tried: set[str] = field(default_factory=set)
    accepted: dict[str, float] = field(default_factory=dict)  #: id -> when the producer got its answer
    runs: dict[str, Run] = field(default_factory=dict)
    of: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))  #: runs by id, in order
    asked: dict[str, list[Asked]] = field(default_factory=lambda: defaultdict(list))  #: commands by id, in order
    deaths: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))  #: by process id
    freezes: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    #: What can only end as EXCEPTION, without a run.
    hopeless: set[str] = field(default_factory=set)
    losses: list[Loss] = field(default_factory=list)
    #: Commands by the number of the call, where they have one.
    calls: dict[int, Asked] = field(default_factory=dict)
    #: Ends of runs that never began.
    strays: list[str] = field(default_factory=list)

    @property
    def doubtful(self) -> set[str]:
        """Ids whose producer never got an answer."""
        return self.tried - self.accepted.keys()


def open_book(records: Iterable[Record]) -> Book:
    """Put the records together."""
    book = Book()
    for record in sorted(records, key=lambda each: each["t"]):
        take = _TAKE.get(record["kind"])
        if take is not None:
            take(book, record)
    for run in book.runs.values():
        died = book.deaths[run.pid]
        at = bisect_left(died, run.began)
        if at < len(died):
            run.ended = min(run.ended, died[at])
    return book


def _begin(book: Book, record: Record) -> None:
    words = [record[name] for name in ("run", "id", "worker", "token", "pid")]
    run = Run(*words, record.get("version", 0), began=record["t"])
    book.runs[run.run] = run
    book.of[run.id].append(run)


def _end(book: Book, record: Record) -> None:
    run = book.runs.get(record["run"])
    if run is None:
        book.strays.append(record["run"])
        return
    run.ends += 1
    if run.ends == 1:
        run.ended, run.how = record["t"], record["how"]


def _asked(book: Book, record: Record) -> None:
    command = Asked(record["id"], record["verb"], record.get("version", 0), record["t"])
    book.asked[command.id].append(command)
    if "call" in record:
        book.calls[record["call"]] = command


def _told(book: Book, record: Record) -> None:
    command = book.calls[record["call"]] if "call" in record else book.asked[record["id"]][-1]
    command.told, command.answer = record["t"], record["answer"]


def _thawed(book: Book, record: Record) -> None:
    begin, _ = book.freezes[record["pid"]].pop()
    book.freezes[record["pid"]].append((begin, record["t"]))


_TAKE: dict[str, Callable[[Book, Record], object]] = {
    "tried": lambda book, record: book.tried.add(record["id"]),
    "accepted": lambda book, record: book.accepted.setdefault(record["id"], record["t"]),
    "hopeless": lambda book, record: book.hopeless.add(record["id"]),
    "forgot": lambda book, record: book.losses.append(Loss(record["since"], record["gone"], record["t"])),
    "begin": _begin,
    "end": _end,
    "asked": _asked,
    "told": _told,
    "dead": lambda book, record: book.deaths[record["pid"]].append(record["t"]),
    "frozen": lambda book, record: book.freezes[record["pid"]].append((record["t"], NEVER)),
    "thawed": _thawed,
}


def frozen_between(book: Book, pid: int, begin: float, end: float) -> float:
    """Seconds between the two times in which the process could not run."""
    return sum(max(0.0, min(end, thawed) - max(begin, frozen)) for frozen, thawed in book.freezes.get(pid, ()))
