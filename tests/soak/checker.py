"""The checker: what the ledger says and what Redis was made to write, held against each other. Pure.

Called by ``stage`` after a soak and by ``tests/unit/test_checker.py`` with broken histories, each of which it finds.
Each check below is one promise; :data:`CHECKS` lists them.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from pytask_core.keys import RedisKeys
from pytask_core.states import FINAL, TaskState
from tests.soak.book import Book, Run, frozen_between, open_book
from tests.soak.ledger import Record
from tests.soak.replay import GONE, History, Move, Replay
from tests.support.legal_moves import TRANSITIONS

#: Seconds that a copy which lost its task while its process was frozen may run beside the new one once it is thawed:
#: until the guard has looked at the clock, and for giving way. The frozen time itself is not counted.
SELF_STOP_WINDOW = 1.0

#: The same where nothing was frozen: there a worker that is cut off stops its copies before anybody may have the task.
#: It is not zero only because two processes write the ledger.
CUT_OFF_WINDOW = 0.1

#: Seconds that copies run on beside new ones after a server has come back empty: until their worker has found it again,
#: renewed, and learned that it was forgotten. Nobody can know sooner: nothing of the old claims is left.
FORGOTTEN_WINDOW = 3.0

#: Seconds by which the watch may notice a death late. Dead code runs beside nobody.
DEATH_NOTICED_WITHIN = 0.1

#: Seconds after which a stop or reload that was answered must have happened, outages of ten seconds included.
OBEY_WITHIN = 25.0

#: As many runs of a task must have been cut off by the death of their process, or by a lost lease, before it may count
#: as poison.
POISON_DEATHS = 3

#: How much of a list of ids a violation shows.
_SHOWN = 8

_MODEL = {str(state): {str(each) for each in allowed} for state, allowed in TRANSITIONS.items()}
_RUN = re.compile(r"run=([^\s\"'\\]+)")
_HOW = {TaskState.SUCCESS: "returned", TaskState.ERROR: "error", TaskState.EXCEPTION: "exception"}


@dataclass
class Report:
    """The verdict."""

    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    longest_overlap: float = 0.0
    #: Accepted ids that went with what a server lost, where they are named.
    taken: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    def blame(self, what: str, ids: list[str]) -> None:
        """Note a violation, if there are culprits, with how many and some of them."""
        self.counts[what] += len(ids)
        if ids:
            more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
            self.violations.append(f"{what}: {len(ids)}: {', '.join(map(str, ids[:_SHOWN]))}{more}")

    def text(self) -> str:
        """Some lines for people."""
        lines = [f"{what}: {count}" for what, count in self.counts.items()]
        lines.append(f"longest overlap: {self.longest_overlap:.3f} s")
        lines += [f"VIOLATION {each}" for each in self.violations]
        return "\n".join([*lines, f"verdict: {'passed' if self.ok else 'FAILED'}"])


def check(records: list[Record], replay: Replay) -> Report:
    """Judge a history that has come to rest: traffic has ended, for-ever tasks are stopped, workers have left."""
    book, report = open_book(records), Report()
    report.counts.update(
        {
            "transactions": replay.count,
            "ids accepted": len(book.accepted),
            "ids without an answer": len(book.doubtful),
            "runs": len(book.runs),
            "runs cut off by a death": sum(run.how is None for run in book.runs.values()),
            "commands": sum(map(len, book.asked.values())),
        }
    )
    for each in CHECKS:
        each(book, replay, report)
    return report


# Nothing lost


def _check_lost(book: Book, replay: Replay, report: Report) -> None:
    """Every accepted id has come to an end, was stopped, or was removed on purpose."""
    lost, unfinished, taken = [], [], 0
    for task_id in sorted(book.accepted):
        history = replay.histories.get(task_id)
        if history is None and _is_taken(book, book.accepted[task_id]):
            taken += 1
        elif history is None:
            lost.append(f"{task_id} (never written)")
        elif history.state == GONE:
            was = history.moves[-2].state if len(history.moves) > 1 else GONE
            if history.moves[-1].at in replay.flushes:
                taken += was not in FINAL
            elif was not in FINAL and not _may_be_removed(book, task_id):
                lost.append(f"{task_id} (removed while {was})")
        elif history.state in {TaskState.WAIT, TaskState.RUNNING}:
            unfinished.append(f"{task_id} ({history.state})")
    if book.losses:
        report.counts["ids that went with what the server lost"] = taken
    report.blame("lost ids", lost)
    report.blame("ids that never came to an end", unfinished)


def _check_stuck(book: Book, replay: Replay, report: Report) -> None:
    """At rest no task waits in no list, where no worker finds it. What its producer never pushed counts elsewhere."""
    stuck = [
        task_id
        for task_id, history in replay.histories.items()
        if history.state == TaskState.WAIT
        and not replay.stands(task_id)
        and (history.was_placed or task_id not in book.doubtful)
    ]
    report.blame("tasks that WAIT in no list", stuck)


def _check_homeless(book: Book, replay: Replay, report: Report) -> None:
    """At no instant did an id stand nowhere."""
    report.blame("ids that stood nowhere for a while", [f"{task_id} (after {at})" for task_id, at in replay.homeless])


def _may_be_removed(book: Book, task_id: str) -> bool:
    return any(each.verb == "remove" for each in book.asked.get(task_id, ()))


# Nothing doubled


def check_overlaps(book: Book, replay: Replay, report: Report) -> None:
    """No two copies under one token; a copy that lost its task is gone within the window."""
    twins, late, overlaps, forgotten = [], [], 0, 0
    for earlier, later in (pair for runs in book.of.values() for pair in pairwise(runs)):
        until = min(earlier.ended, later.ended)
        overlap = until - later.began - frozen_between(book, earlier.pid, later.began, until)
        if overlap <= 0 or (earlier.how is None and overlap < DEATH_NOTICED_WITHIN):
            continue
        if earlier.token == later.token:
            twins.append(f"{earlier.run} and {later.run} of {later.id}")
            continue
        if _is_forgotten(book, earlier, later, until):
            forgotten += 1
            continue
        report.longest_overlap = max(report.longest_overlap, overlap)
        was_frozen = frozen_between(book, earlier.pid, earlier.began, until) > 0
        if overlap > (SELF_STOP_WINDOW if was_frozen else CUT_OFF_WINDOW):
            frozen = "after it was frozen" if was_frozen else "and was never frozen"
            late.append(f"{earlier.run} ran {overlap:.2f} s beside {later.run} of {later.id}, {frozen}")
        else:
            overlaps += 1
    report.counts["overlaps inside the self-stop window"] = overlaps
    if book.losses:
        report.counts["overlaps after the server lost claims"] = forgotten
    report.blame("copies at the same time under one valid token", twins)
    report.blame("copies that ran on beyond the self-stop window", late)


def _is_taken(book: Book, when: float) -> bool:
    """Whether what was written at that time may be gone."""
    return any(loss.since <= when <= loss.back for loss in book.losses)


def _is_forgotten(book: Book, earlier: Run, later: Run, until: float) -> bool:
    """Whether the server lost the earlier claim between the two, and its copy was gone soon after."""
    seen = until - frozen_between(book, earlier.pid, later.began, until)
    return any(
        loss.since <= earlier.began <= loss.back and later.began >= loss.gone and seen <= loss.back + FORGOTTEN_WINDOW
        for loss in book.losses
    )


def _check_claims(book: Book, replay: Replay, report: Report) -> None:
    """Every run had a token that Redis gave for this id, and one token starts one run, and one more a reload."""
    unclaimed, doubled = [], []
    for task_id, runs in book.of.items():
        reloads: Counter[str | None] = Counter()
        owners = set()
        moves = replay.histories[task_id].moves if task_id in replay.histories else []
        for before, move in pairwise([None, *moves]):
            owners.add(move.owner)
            if move.command == "reload" and (before is None or before.command != "reload"):
                reloads[move.owner] += 1
        unclaimed += [
            f"{run.run} of {task_id} ({run.token})"
            for run in runs
            if run.token not in owners and not _is_taken(book, run.began)
        ]
        for token, count in Counter(run.token for run in runs).items():
            if count > 1 + reloads[token]:
                doubled.append(f"{task_id} {count} times under {token} with {reloads[token]} reloads")
    report.blame("runs without a claim", unclaimed)
    report.blame("runs that one claim started twice", doubled)


# Legal histories


def _check_transitions(book: Book, replay: Replay, report: Report) -> None:
    """Every state follows from the one before, as ``TRANSITIONS`` allows."""
    illegal = []
    for task_id, history in replay.histories.items():
        for before, move in _steps(history):
            if not (move.at in replay.flushes or _is_legal(book, task_id, before, move)):
                illegal.append(f"{task_id} from {_words(before)} to {_words(move)} (after {move.at})")
    report.blame("illegal transitions", illegal)


def _steps(history: History) -> Iterator[tuple[Move | None, Move]]:
    return pairwise([None, *history.moves])  # type: ignore[arg-type]


def _is_legal(book: Book, task_id: str, before: Move | None, move: Move) -> bool:
    if before is None or before.state == GONE:
        return move.state in {TaskState.WAIT, GONE} or (move.state == TaskState.RUNNING and move.is_local)
    if move.state == GONE:
        return before.state in FINAL or before.is_local or _may_be_removed(book, task_id)
    if move.state == before.state and move.state in FINAL:
        return move.output == before.output  # an end is written once
    if move.state == before.state:
        return move.state != TaskState.RUNNING or _stays(before, move)
    return move.state in _MODEL[before.state]


def _stays(before: Move, move: Move) -> bool:
    """Whether a running task has the claim it had; a worker may register a local one again if the answer was lost."""
    if move.is_local:
        return _worker(before) == _worker(move)
    return move.owner == before.owner


def _worker(move: Move) -> str:
    return (move.owner or "").rpartition(":")[0]


def _words(move: Move | None) -> str:
    return "nothing" if move is None else f"{move.state} of {move.owner}"


def _check_commands(book: Book, replay: Replay, report: Report) -> None:
    """What leaves a worker with a recorded stop is stopped or has ended; with a recorded restart it waits again."""
    forgotten = []
    for task_id, history in replay.histories.items():
        for before, move in _steps(history):
            if before is None or before.state != TaskState.RUNNING or move.state in {TaskState.RUNNING, GONE}:
                continue
            stop = before.command == "stop" and move.state == TaskState.WAIT
            restart = before.command == "restart" and move.state != TaskState.WAIT
            if stop or restart:
                forgotten.append(f"the {before.command} of {task_id}, {move.state} after {move.at}")
    report.blame("commands that were forgotten", forgotten)


def check_obedience(book: Book, replay: Replay, report: Report) -> None:
    """A stop that was answered is followed by the end of the run; a reload by a run on the new data."""
    deaf = []
    for task_id, commands in book.asked.items():
        for each in commands:
            if _is_taken(book, each.told):
                continue
            if each.answer and each.verb in {"stop", "restart", "remove"}:
                deaf += [
                    f"the {each.verb} of {task_id}: {run.run} ran on for {run.ended - each.told:.0f} s"
                    for run in book.of[task_id]
                    if run.began < each.told and _time_left(book, run, each.told) > OBEY_WITHIN
                ]
            elif each.answer and each.verb == "reload":
                deaf += [
                    f"the reload of {task_id}: {run.run} has version {run.version} and not {each.version}"
                    for run in book.of[task_id]
                    if run.version < each.version and _time_left(book, run, each.told) > OBEY_WITHIN
                ]
    report.blame("commands that were not obeyed", deaf)


def _time_left(book: Book, run: Run, since: float) -> float:
    begin = max(since, run.began)
    return run.ended - begin - frozen_between(book, run.pid, begin, run.ended)


# Ends


def check_ends(book: Book, replay: Replay, report: Report) -> None:
    """Each final state is the end of one run, which had the claim and ended just so; no run ends twice."""
    unexplained: list[str] = []
    used: Counter[str] = Counter()
    for task_id, history in replay.histories.items():
        for before, move in _steps(history):
            if move.state not in FINAL or (before is not None and before.state == move.state):
                continue
            run = book.runs.get(_run_in(move.output) or "")
            if run is not None:
                used[run.run] += 1
                if (run.id, run.token, run.how) != (task_id, move.owner, _HOW[TaskState(move.state)]):
                    unexplained.append(f"{task_id} ended as {move.state} under {move.owner} by {run}")
            elif task_id in book.hopeless and move.state == TaskState.EXCEPTION:
                report.counts["ids that could not run"] += 1
            elif _is_poison(book, replay, task_id, move):
                report.counts["ids convicted as poison"] += 1
            else:
                unexplained.append(f"{task_id} ended as {move.state} with the output {move.output!r:.200}")
    report.counts["ends"] = sum(used.values())
    twice = [run for run, count in used.items() if count > 1]
    twice += [run.run for run in book.runs.values() if run.ends > 1]
    report.blame("ends that no run explains", unexplained)
    report.blame("runs that ended twice", twice)
    report.blame("ends of runs that never began", book.strays)


def _run_in(output: str | None) -> str | None:
    found = _RUN.search(output or "")
    return found[1] if found else None


def _is_poison(book: Book, replay: Replay, task_id: str, move: Move) -> bool:
    cut_off = sum(run.how is None for run in book.of.get(task_id, ()))
    return move.state == TaskState.EXCEPTION and max(cut_off, replay.charged[task_id]) >= POISON_DEATHS


# Nothing left behind


def _check_keys(book: Book, replay: Replay, report: Report) -> None:
    """At rest only stopped tasks are left, in the task set, and nothing of any worker."""
    names = replay.names
    is_known = key_matcher(names)
    stray, orphans, remains = [], [], []
    for key, value in replay.keys.items():
        if not is_known(key):
            stray.append(key)
        elif key.startswith(names.task_prefix):
            task_id = key[len(names.task_prefix) :]
            history = replay.histories[task_id]
            if history.state == GONE:
                report.counts["fields that a client wrote for a task that was gone"] += 1
            elif not history.was_placed and task_id in book.doubtful:
                report.counts["hashes of producers that were cut off before the push"] += 1
            elif not replay.stands(task_id) and history.state != TaskState.WAIT:  # for those see _check_stuck
                orphans.append(f"{task_id} ({value.get('state')})")
        elif key == names.running:
            remains += [] if value == "0" else [f"{key} counts {value}"]
        elif key not in {names.task_set, names.monitor}:
            remains.append(f"{key}: {value!r:.80}")
    active = replay.keys.get(names.task_set, set())
    remains += [f"{each} in the task set, without a hash" for each in active if names.task(each) not in replay.keys]
    report.blame("stray keys", stray)
    report.blame("orphan hashes", orphans)
    report.blame("things left behind", remains)


def key_matcher(names: RedisKeys) -> Callable[[str], bool]:
    """Whether ``keys.py`` can name a key, whatever is added to it: asked of all that it declares."""
    exact, prefixes = set(vars(names).values()), [names.task_prefix]
    for name, member in inspect.getmembers(RedisKeys):
        if name.startswith(("_", "id_of")):
            continue
        if isinstance(member, property):
            exact.add(getattr(names, name))
        elif inspect.isfunction(member):
            prefixes.append(getattr(names, name)("\0").partition("\0")[0])
    return lambda key: key in exact or key.startswith(tuple(prefixes))


CHECKS: tuple[Callable[[Book, Replay, Report], None], ...] = (
    _check_lost,
    _check_stuck,
    _check_homeless,
    check_overlaps,
    _check_claims,
    _check_transitions,
    _check_commands,
    check_obedience,
    check_ends,
    _check_keys,
)


def differences(replay: Replay, found: dict[str, object]) -> list[str]:
    """Keys on which the replay and the server itself do not agree: then the kit is wrong, or the server lost writes."""
    pairs = [(key, _plain(replay.keys.get(key)), _plain(found.get(key))) for key in replay.keys.keys() | found.keys()]
    return [
        f"{key}: {log!r:.150} in the log, {there!r:.150} there" for key, log, there in sorted(pairs) if log != there
    ]


def _plain(value: object) -> object:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return list(value) if isinstance(value, deque) else value
