"""``--check-config`` and ``--print-config``: an answer instead of a start. Called by ``cli``."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

from pytask_supervisor import __version__
from pytask_supervisor.config.options import Option, SupervisorConfig, options
from pytask_supervisor.config.settings import TABLE, Settings
from pytask_supervisor.shared.exits import LOADING, LOADS_LONG, WHY_IT_LOADS_LONG, Exit, explain
from pytask_supervisor.shared.redact import redact, shown_url


def answer(settings: Settings, rehearse: Callable[[SupervisorConfig], int]) -> Exit:
    """Answer; ``rehearse`` loads the app in a process that is thrown away."""
    for warning in settings.warnings:
        _tell(warning)
    if settings.mistakes:
        for mistake in settings.mistakes:
            _tell(mistake)
        return Exit.USAGE
    if settings.asked == "print":
        sys.stdout.write(as_toml(settings))
        return Exit.OK
    code = _in_a_process(lambda: rehearse(settings.config), LOADING * settings.config.hang_timeout)
    if code is Exit.OK:
        sys.stdout.write(f"OK: {settings.config.label} can be loaded, and every option makes sense\n")
    return code


def as_toml(settings: Settings) -> str:
    """Each value and its origin. As a file it gives the same configuration, except for passwords."""
    lines = [f"# pytask-supervisor {__version__}: the value of each option, and its origin", f"[tool.{TABLE}]"]
    return "\n".join([*lines, *(_line(settings, option) for option in options())]) + "\n"


def _line(settings: Settings, option: Option) -> str:
    key, value = option.key, settings.values[option.name]
    source = settings.places.get(option.name, "default")
    if value is None or value == ():
        return f"# {key} is not set"
    if settings.raw[option.name] == "auto" and value != "auto":
        value, source = "auto", f"{source}; {value} here"
    shown = _toml(_without_passwords(value, is_url=option.name == "redis"))
    if shown != _toml(value):
        source += "; the password is left out"
    line = f"{key} = {shown}  # {redact(source)}"
    return line if option.in_file else f"# {line}; not allowed in a file"


def _without_passwords(value: Any, *, is_url: bool) -> Any:
    """To be called before TOML escapes anything: a URL with more backslashes is not recognised as one."""
    if isinstance(value, tuple):
        return tuple(_without_passwords(each, is_url=is_url) for each in value)
    if not isinstance(value, str):
        return value
    return shown_url(value) if is_url else redact(value)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON and TOML write strings alike, except for this one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _in_a_process(work: Callable[[], int], patience: float) -> Exit:
    """Run the user's code in a process of its own. It may do anything, so its exit code alone proves nothing.

    ``patience``: seconds that a worker may take to load its app; 0: no limit.
    """
    answer_read, answer_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            code = work()
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(answer_write, bytes([code]))
        finally:
            os._exit(Exit.LOAD)
    os.close(answer_write)
    first = min(LOADS_LONG, patience or LOADS_LONG)
    if not _comes(answer_read, first):
        _tell(f"the app is still being loaded after {first:g} s; {WHY_IT_LOADS_LONG}")
        if not _comes(answer_read, patience - first if patience else None):
            os.kill(pid, signal.SIGKILL)
            _tell(f"the app was not loaded after {patience:g} s, {LOADING} times --hang-timeout")
    said = os.read(answer_read, 1)
    os.close(answer_read)
    _, status = os.waitpid(pid, 0)
    if said:
        return Exit(said[0])
    _tell(f"the process that was loading the app {explain(status)}")
    return Exit.LOAD


def _comes(descriptor: int, patience: float | None) -> bool:
    """Whether data or an end of file comes within that many seconds."""
    return bool(select.select([descriptor], [], [], patience)[0])


def _tell(sentence: str) -> None:
    sys.stderr.write(f"pytask-supervisor: {sentence}\n")
