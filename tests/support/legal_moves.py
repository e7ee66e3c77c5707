"""The legal moves of a task from state to state. Tests hold the scripts to them."""

from __future__ import annotations

from pytask_core.states import FINAL, TaskState

#: Legal moves. Removal is legal from every state.
TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.WAIT: frozenset({TaskState.RUNNING, TaskState.STOPPED, TaskState.EXCEPTION}),
    TaskState.RUNNING: FINAL | {TaskState.STOPPED, TaskState.WAIT},
    TaskState.STOPPED: frozenset({TaskState.WAIT, TaskState.RUNNING}),
    # STOPPED where another program has pushed it once more, and it is stopped before that starts it.
    **{state: frozenset({TaskState.WAIT, TaskState.RUNNING, TaskState.STOPPED}) for state in FINAL},
}
