"""The verbs that are done at once; ``follow`` has those that listen. Called by ``dispatch``.

Each takes the session, the options and the output, and returns the exit code.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from pytask_core.states import TaskState

from .arguments import Options
from .output import Output, as_text
from .session import Session, heard


def stop(session: Session, options: Options, output: Output) -> int:
    """Stop each task; one that has ended or stopped already counts as not done."""
    return _each(
        session,
        options,
        output,
        session.helpers.stop_task,
        done="stopped",
        told="told to stop",
        not_done="does not wait or run",
    )


def restart(session: Session, options: Options, output: Output) -> int:
    """Queue each task again; a running one is stopped first."""
    return _each(
        session,
        options,
        output,
        session.helpers.restart_task,
        done="waits",
        told="told to start again",
        not_done="cannot be restarted",
    )


def reload(session: Session, options: Options, output: Output) -> int:
    """Make each running task read its data again."""
    return _each(
        session,
        options,
        output,
        session.helpers.reload_task,
        done="told to reload",
        told="told to reload",
        not_done="does not run",
    )


def remove(session: Session, options: Options, output: Output) -> int:
    """Remove each task, in any state."""
    return _each(
        session,
        options,
        output,
        session.helpers.remove_task,
        done="removed",
        not_done="cannot be removed",
    )


def list_tasks(session: Session, options: Options, output: Output) -> int:
    """All tasks, or those in one state."""
    found = (task for task in session.listed(_ids(session)) if options.state in (None, _state(task)))
    tasks = session.with_workers(found)
    if options.as_json:
        output.json_array({**task, "state": _state(task)} for task in tasks)
    else:
        rows = ([task["id"], task.get("task", ""), _state(task), _when(task), _where(task)] for task in tasks)
        output.table(("ID", "TASK", "STATE", "LAST UPDATE", "WORKER"), rows)
    return 0


def show(session: Session, options: Options, output: Output) -> int:
    """Everything about one task."""
    task_id = options.ids[0]
    task: dict[str, Any] = dict(session.helpers.get_task(task_id))
    if not task:
        output.complain(f"there is no task {task_id}")
        return 1
    [known] = session.with_workers([task])
    task |= {name: known[name] for name in ("worker", "silent") if name in known}
    for name in ("data", "output"):
        if name in task:
            task[name] = parsed(task[name])
    if options.as_json:
        output.json({**task, "id": task_id})
    else:
        rows = [("id", task_id), *((name, as_text(value)) for name, value in task.items())]
        output.table(("FIELD", "VALUE"), rows)
    return 0


def queues(session: Session, options: Options, output: Output) -> int:
    """How many tasks wait, are active and have ended, and how many are parked under names that no worker knows."""
    lengths = session.helpers.queue_lengths()
    names = session.helpers.parked_tasks() if "parked" in lengths else {}
    if options.as_json:
        output.json({**lengths, "parked_names": names} if names else lengths)
    else:
        rows = {**lengths, **{f"parked: {name}": count for name, count in names.items()}}
        output.table(("QUEUE", "TASKS"), [(name, str(count)) for name, count in rows.items()])
    return 0


def parsed(text: str) -> Any:
    """The JSON in a field of a hash, or its text if that is not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)


def _each(
    session: Session,
    options: Options,
    output: Output,
    change: Callable[[str], bool],
    *,
    done: str,
    not_done: str,
    told: str = "",
) -> int:
    """Change each task if possible; say which could not be changed, and why.

    ``done``: what it is then. ``told``: what its worker still has to do if it runs.
    """
    answers = []
    for task_id in dict.fromkeys(options.ids):
        if change(task_id):
            where = _still_there(session, task_id) if told else {}
            answers.append({"id": task_id, "done": True, **where})
            if not options.as_json:
                output.line(task_id, f"{told}: recorded, and its worker is {_where(where)}" if where else done)
            continue
        answers.append({"id": task_id, "done": False})
        name, state = session.helpers.get_task(task_id, ["task", "state"])
        if name or state:
            output.complain(f"task {task_id} {not_done}: it is {state or TaskState.WAIT}")
        else:
            output.complain(f"there is no task {task_id}")
    if any(answer["done"] for answer in answers) and (why := session.why_unheard(options.ids[0])):
        output.complain(f"recorded, but workers cannot be told at once; they find it at their next renewal: {why}")
    if options.as_json:
        output.json(answers if len(answers) > 1 else answers[0])
    return 0 if all(answer["done"] for answer in answers) else 1


def _still_there(session: Session, task_id: str) -> dict[str, Any]:
    """The worker of a task that still runs, and for how long that worker has been silent."""
    owner, state = session.helpers.get_task(task_id, ["owner", "state"])
    [known] = session.with_workers([{"owner": owner, "state": state}])
    return {name: known[name] for name in ("worker", "silent") if name in known}


def _where(task: Mapping[str, Any]) -> str:
    return f"{task['worker']}, {heard(task['silent'])}" if "worker" in task else ""


def _ids(session: Session) -> Iterator[str]:
    """Every id once, in the order in which tasks move, so that a task that moves meanwhile is not missed."""
    helpers = session.helpers
    seen: set[str] = set()
    parked = helpers.get_parked_task_ids
    # A parked one may go to the queue, and one from the queue may be parked.
    for read in (parked, helpers.get_new_task_ids, helpers.get_active_task_ids, parked, helpers.get_end_task_ids):
        # An empty id, which any program may push, does not name a task.
        fresh = [task_id for task_id in dict.fromkeys(read()) if task_id and task_id not in seen]
        seen.update(fresh)
        yield from fresh


def _state(task: dict[str, Any]) -> str:
    """No state means WAIT: the task may have been pushed by hand."""
    if not task.get("task") and not task.get("state"):
        return "?"
    return str(task.get("state") or TaskState.WAIT)


def _when(task: dict[str, str]) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(float(task["last_update"])).astimezone()
    except (KeyError, ValueError, OverflowError, OSError):
        return ""
    return moment.strftime("%Y-%m-%d %H:%M:%S")
