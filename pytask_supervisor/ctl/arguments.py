"""The command line of ``pytaskctl``: words and environment to ``Options``. Called by ``main`` only.

The standard library only; nothing here touches Redis.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO

from pytask_core import redis_url
from pytask_core.keys import KEY_NAMES
from pytask_core.states import TaskState
from pytask_supervisor.config.settings import ConfigError, texts_in_file

STATES = tuple(state.value for state in TaskState)

#: Flag to the argument of ``PyTaskHelpers``; in the environment ``PYTASK_TASK_SET`` and so on.
KEY_FLAGS = {f"--{name.replace('_', '-')}": name for name in KEY_NAMES}

#: What ``workers`` can do, what of it takes a number, and where the number may be left out.
ACTIONS = ("scale", "quiet", "resume", "restart", "reload", "stop")
NUMBERED = {"scale": "how many?", "stop": "which slot?", "restart": "which slot?"}
FOR_ALL_TOO = {"restart"}

#: What ``--wait`` can wait for, its default in seconds, and the longest wait. Longer: a rolling restart of many workers
#: is seen to its end. Shorter: a script does not wait long for a worker that hangs.
AWAITED = ("restart", "reload")
DEFAULT_WAIT, LONGEST_WAIT = 600.0, 86_400.0

#: Seconds between two frames of ``top``. A worker reports its figures once a second.
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.1, 3600.0


class UsageError(Exception):
    """The command line is wrong; the message is one sentence."""


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    verb: str
    redis: str  #: a URL, ``embedded[:DIR]`` included
    names: dict[str, str]  #: the key names that are not the default
    as_json: bool
    ids: list[str] = field(default_factory=list)  #: of ``stop``, ``restart``, ``show``, ``events``, …
    task_name: str = ""  #: of ``start``, as are the next four
    data: dict[str, Any] = field(default_factory=dict)
    task_id: str | None = None
    wait: bool = False  #: also of ``workers``
    cleanup: bool = True
    state: str | None = None  #: of ``list``: only tasks in this state
    control_socket: str | None = None  #: of ``workers`` and ``top``; None: that of the only supervisor here
    action: str = "show"  #: of ``workers``, as are the next three
    number: int | None = None
    deaths: bool = False
    timeout: float = DEFAULT_WAIT  #: of ``--wait``, in seconds
    once: bool = False  #: of ``top``, as is the next
    interval: float = 1.0


class _Parser(argparse.ArgumentParser):
    """It raises, so that a mistake is reported in one line."""

    def error(self, message: str) -> NoReturn:
        # argparse takes the value of an unknown option for the verb.
        hint = "; options of a verb must follow the verb" if message.startswith("argument VERB:") else ""
        raise UsageError(f"{message}{hint} (see {self.prog} --help)")


def parse(
    argv: Sequence[str], environ: Mapping[str, str], stdout: TextIO, folder: Path | None = None
) -> Options | None:
    """Return the options, or None when help was asked for and has been printed to ``stdout``.

    Raises:
        UsageError: the words make no sense.
    """
    if argv and argv[0] == "help":
        argv = [*argv[1:2], "--help"]
    try:
        with contextlib.redirect_stdout(stdout):
            found, more = _parser().parse_known_args(list(argv))
    except SystemExit:
        return None
    words = _plain_words(more)
    if found.verb == "workers":
        _check_action(found, words)
    if words and found.verb not in ("start", "stop", "restart", "reload", "remove"):
        raise UsageError(f"{found.verb}: one word too many: {words[0]!r}")
    given, file = vars(found), _in_file(folder)
    names = {name: given.get(name) or environ.get(f"PYTASK_{name.upper()}") or file.get(name, "") for name in KEY_NAMES}
    ids = [] if found.verb == "start" else [*given.get("ids", []), *words]
    if found.verb == "events" and len(ids) > 1:
        raise UsageError(f"events: one word too many: {ids[1]!r}")
    socket = given.get("control_socket") or environ.get("PYTASK_CONTROL_SOCKET") or file.get("control_socket")
    return Options(
        verb=found.verb,
        redis=given.get("redis") or environ.get("PYTASK_REDIS_URL") or file.get("redis") or redis_url.DEFAULT,
        names={name: value for name, value in names.items() if value},
        as_json=given.get("json", False),
        ids=ids,
        task_name=given.get("name", ""),
        data=_data([*given.get("data", []), *words]) if found.verb == "start" else {},
        task_id=given.get("id"),
        wait=given.get("wait", False),
        cleanup=given.get("cleanup", True),
        state=given.get("state"),
        control_socket=None if socket in ("auto", "none") else socket,
        action=given.get("action") or "show",
        number=given.get("number"),
        deaths=given.get("deaths", False),
        timeout=given.get("timeout") or DEFAULT_WAIT,
        once=given.get("once", False),
        interval=given.get("interval", 1.0),
    )


def _in_file(folder: Path | None) -> dict[str, str]:
    """Redis, key names and control socket, from the supervisor's table in the file of a folder."""
    if folder is None:
        return {}
    try:
        return texts_in_file(folder, ("redis", "control_socket", *KEY_NAMES))
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    # Allowed before and after the verb. Without SUPPRESS, the verb's default would hide what stood before it.
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    common.add_argument(
        "--redis",
        metavar="URL",
        help=f"redis://, unix://, embedded[:DIR] … (default: PYTASK_REDIS_URL, then {redis_url.DEFAULT})",
    )
    for flag in KEY_FLAGS:
        common.add_argument(flag, metavar="NAME", help="the same as for the workers")
    common.add_argument("--json", action="store_true", help="print JSON")
    parser = _Parser(
        prog="pytaskctl",
        description="Start, stop and watch tasks.",
        parents=[common],
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)

    start = verb("start", "Queue a task and print its id.")
    start.add_argument("name", metavar="NAME", help="the task's NAME")
    start.add_argument(
        "data",
        metavar="key=value",
        nargs="*",
        help="its data; a value is read as JSON if it is valid JSON, else as text",
    )
    start.add_argument("--id", help="its id (default: a new one)")
    start.add_argument(
        "--wait",
        action="store_true",
        help="wait until it ends, and print its output; exit code 0 for SUCCESS, else 1",
    )
    start.add_argument("--no-cleanup", dest="cleanup", action="store_false", help="keep the task after its end")
    for name, text in (
        ("stop", "Stop tasks; they can be restarted."),
        ("restart", "Start tasks again, in any state."),
        ("reload", "Make running tasks read their data again."),
        ("remove", "Remove tasks and their output."),
    ):
        verb(name, text).add_argument("ids", metavar="ID", nargs="+")
    verb("list", "List all tasks with their states.").add_argument(
        "--state", type=str.upper, choices=STATES, help="only tasks in this state"
    )
    verb("show", "Show one task.").add_argument("ids", metavar="ID", nargs=1)
    verb("events", "Follow the events of one task, or of all, until Ctrl-C.").add_argument(
        "ids", metavar="ID", nargs="*"
    )
    verb("queues", "Count the tasks that wait, are active, have ended, or are parked because no worker knows them.")
    workers = verb("workers", "Show or control the workers of the supervisor on this machine.")
    _add_socket(workers)
    workers.add_argument(
        "action",
        nargs="?",
        choices=ACTIONS,
        help="scale N: run N workers from now on. quiet: claim no new tasks; resume: claim again. restart: replace the "
        "workers one after another, with the code as it is now; restart SLOT: only that one. reload: as restart, and "
        "read the configuration again. stop SLOT: stop that one for good",
    )
    workers.add_argument("number", nargs="?", metavar="N|SLOT")
    workers.add_argument("--deaths", action="store_true", help="show the last workers that ended, and why")
    workers.add_argument(
        "--wait",
        action="store_true",
        help="with restart and reload: wait for the result. Exit code 0: all workers were replaced, and the old ones "
        "are gone; 1: it was given up, or the supervisor stops; 3: there is no result in time, and it goes on",
    )
    workers.add_argument(
        "--timeout", type=_timeout, metavar="SECONDS", help=f"how long --wait waits (default: {DEFAULT_WAIT:g})"
    )
    top = verb("top", "Watch queues and workers; q or Ctrl-C ends it.")
    _add_socket(top)
    top.add_argument("--once", action="store_true", help="print one frame and exit")
    top.add_argument(
        "--interval", type=_interval, metavar="SECONDS", help="between two frames (default: 1)", default=1.0
    )
    return parser


def _add_socket(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--control-socket",
        metavar="PATH",
        help="the same as for the supervisor (default: PYTASK_CONTROL_SOCKET, then that of the only supervisor here)",
    )


def _check_action(found: argparse.Namespace, words: list[str]) -> None:
    if found.number is None and words:  # A flag stood before it.
        found.number = words.pop(0)
    if found.action in NUMBERED and not (found.action in FOR_ALL_TOO and found.number is None):
        if found.number is None:
            raise UsageError(f"workers {found.action}: {NUMBERED[found.action]}")
        if not (found.number.isascii() and found.number.isdigit()):
            raise UsageError(f"workers {found.action}: {NUMBERED[found.action]} {found.number!r} is not a whole number")
        found.number = int(found.number)
    elif found.number is not None:
        raise UsageError(f"workers: one word too many: {found.number!r}")
    if found.action and found.deaths:
        raise UsageError(f"workers: --deaths and {found.action} cannot be used together")
    if found.wait and found.action not in AWAITED:
        raise UsageError(f"workers: --wait is only for {' and '.join(AWAITED)}")
    if found.timeout is not None and not found.wait:
        raise UsageError("workers: --timeout is only for --wait")


def _interval(text: str) -> float:
    seconds = float(text)
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        raise argparse.ArgumentTypeError(
            f"must be from {SHORTEST_INTERVAL} to {LONGEST_INTERVAL:g} seconds, not {text}"
        )
    return seconds


def _timeout(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= LONGEST_WAIT:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {LONGEST_WAIT:g} seconds, not {text}")
    return seconds


def _plain_words(more: list[str]) -> list[str]:
    """The words that argparse leaves over if a flag stands between them: ``start NAME --wait a=1``."""
    words: list[str] = []
    for position, word in enumerate(more):
        if word == "--":
            return words + more[position + 1 :]
        if word.startswith("-") and word != "-":
            raise UsageError(f"unknown option {word!r} (see pytaskctl --help)")
        words.append(word)
    return words


def _data(words: list[str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UsageError(f"start: expected key=value, not {word!r}")
        if key in data:
            raise UsageError(f"start: the key {key!r} is given twice")
        data[key] = _value(text)
    return data


def _value(text: str) -> Any:
    """``text`` as JSON if it is valid, else as it is. ``NaN``, which Python reads, is not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)
