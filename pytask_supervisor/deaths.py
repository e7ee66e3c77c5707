"""``Deaths``: what a worker's end means: nothing, a successor, or the end of the supervisor."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass

from pytask_supervisor.child import Child, Stage
from pytask_supervisor.exits import Exit, explain
from pytask_supervisor.logs import counted
from pytask_supervisor.orders import HandBackOrders
from pytask_supervisor.respawn import DEATHS_TO_GIVE_UP
from pytask_supervisor.team import Place, Team

log = logging.getLogger("pytask.supervisor")

#: Exit codes of a child that another try would not change.
FATAL = (Exit.LOAD, Exit.REFUSED)


@dataclass(frozen=True)
class Verdict:
    """Why the supervisor cannot go on."""

    code: Exit
    sentence: str


class Deaths:
    """Buries children; the supervisor reaps them and acts on the verdict."""

    def __init__(self, team: Team, orders: HandBackOrders) -> None:
        self._team = team
        self._orders = orders
        #: Some worker was ready once: the app can be loaded and Redis takes us.
        self.was_ever_ready = False
        #: Children that had to be killed when all were to leave.
        self.killed = 0

    def bury(self, child: Child, status: int, *, is_stopping: bool) -> Verdict | None:
        """Empty its place, see that its tasks are handed back, and judge."""
        if not child.has_left:
            # What its tasks started must not go on beside what their next run starts.
            child.kill_group()
            self._orders.add(child)
        if is_stopping and child.stage is Stage.KILLED and _was_killed(status):
            self.killed += 1
        verdict = None if is_stopping else self._judge_fatal(child, status)
        place = self._team.bury(child)
        if verdict is None and place.policy.is_hopeless and not (is_stopping or self._team.is_proven):
            verdict = _crash_loop(child, status)
        if verdict is None:
            _tell(child, status, place, self._team)
        return verdict

    def _judge_fatal(self, child: Child, status: int) -> Verdict | None:
        code = os.waitstatus_to_exitcode(status)
        if self.was_ever_ready or code not in FATAL or child.failure is None:
            return None
        sentence, detail = child.failure
        if detail:
            log.debug("%s", detail)
        return Verdict(Exit(code), sentence)


def _was_killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _tell(child: Child, status: int, place: Place, team: Team) -> None:
    end = explain(status)
    if child.has_left and place.due is None:
        log.debug("%s has left", child)
        return
    if place.due is None:
        # A failure was meant to be told once; that of the first is why we stop.
        if child.stage is not Stage.KILLED and status != 0 and not child.failure:
            log.warning("%s %s while it was stopping", child, end)
        return
    pause = team.pause_before(place)
    when = "at once" if pause <= 0 else f"in {pause:.1f} s"
    if child.failure:
        end += f": {child.failure[0]}"
    elif not child.has_left:
        end += f", last seen with {counted(child.running, 'task')} running"
    log.warning("%s %s; the next one starts %s", child, end, when)


def _crash_loop(child: Child, status: int) -> Verdict:
    return Verdict(
        Exit.CRASH_LOOP,
        f"giving up: worker {child.slot} died {DEATHS_TO_GIVE_UP} times in a row before it had "
        f"been ready for a second; the last one {explain(status)}",
    )
