"""``pytaskctl workers reload`` and ``restart``: asks, and with ``--wait`` waits for the outcome.

Called by ``workers``. The supervisor remembers what becomes of each, so this only looks, again and again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .arguments import Options
from .control_client import MasterError, NoMasterError, ask, order
from .output import Output

#: Exit codes: all were replaced, or ``--wait`` is not given; they were not; there is no result in time.
REPLACED, NOT_REPLACED, UNKNOWN = 0, 1, 3

#: Seconds between two looks. Shorter: the end is seen sooner. Longer: less work for the supervisor.
LOOK_EVERY = 0.25

#: The final states, and the exit code of each.
_CODES = {"replaced": REPLACED, "given_up": NOT_REPLACED, "stopping": NOT_REPLACED}


def change_workers(path: Path, request: dict[str, Any], options: Options, output: Output) -> int:
    """Ask for it, tell what became of it, and return the exit code.

    Without ``--wait`` that is 0 once the supervisor has taken the order. With it: 0 where each worker was replaced, by
    this or a later reload or restart; 1 where that was given up, or the supervisor stops or ends before; 3 where it is
    not known after ``--timeout`` seconds. Raises ``MasterError`` where nothing was asked for.
    """
    deadline = time.monotonic() + options.timeout
    reply = order(path, **request)
    said, change = reply["said"], reply.get("change")
    if not options.wait:
        return _tell(REPLACED, said, change, output)
    name = f"the {options.action}"
    if change is None:
        return _tell(UNKNOWN, f"the result of {name} is not known: the supervisor is of an older version", None, output)
    try:
        if not output.as_json:
            output.line(said)
            output.flush()
        return _tell(*_follow(path, change, name, deadline), output)
    except KeyboardInterrupt:
        output.complain(f"{name} goes on")
        raise


def _follow(path: Path, change: dict[str, Any], name: str, deadline: float) -> tuple[int, str, dict[str, Any]]:
    """The exit code, a sentence, and the change as it was last seen."""
    trouble = ""
    while change["state"] not in _CODES and time.monotonic() < deadline:
        time.sleep(min(LOOK_EVERY, max(0.0, deadline - time.monotonic())))
        try:
            known = {each["id"]: each for each in ask(path, do="show").get("changes", [])}
            trouble = ""
        except NoMasterError:
            return NOT_REPLACED, f"the supervisor ended before {name} did", change
        except MasterError as error:  # It may be busy, or stopped for a while.
            trouble = f"; {error}"
            continue
        if change["id"] not in known:
            why = f"the supervisor at {path} was started again, or had too many other requests since"
            return UNKNOWN, f"the result of {name} is not known: {why}", change
        change = known[change["id"]]
    return _CODES.get(change["state"], UNKNOWN), _sentence(change, name, trouble), change


def _sentence(change: dict[str, Any], name: str, trouble: str) -> str:
    done = f" ({change['replaced']} of {change['workers']} replaced)" if change["workers"] else ""
    match change["state"]:
        case "replaced" if change["superseded_by"]:
            return "all workers were replaced, some by a later reload or restart"
        case "replaced":
            return f"{change['replaced']} worker{'s' * (change['replaced'] != 1)} replaced"
        case "given_up":
            return f"{name} is given up{done}: {change['why']}"
        case "stopping":
            return f"{name} did not finish{done}: {change['why']}"
        case _:
            return f"{name} has not finished in time, and goes on{done}{trouble}"


def _tell(code: int, sentence: str, change: dict[str, Any] | None, output: Output) -> int:
    if output.as_json:
        output.json({"done": code == REPLACED, "said": sentence, "change": change})
    elif code == REPLACED:
        output.line(sentence)
    if code != REPLACED:
        output.complain(sentence)
    return code
