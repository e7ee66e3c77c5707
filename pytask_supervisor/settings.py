"""Fills ``SupervisorConfig`` from flags, environment and ``pyproject.toml``, the first that speaks.

``cli.main`` calls ``load_config``; nothing here reads the real environment or the command line by
itself. Every mistake is a ``ConfigError``: one line that names the option and where it was set.
"""

from __future__ import annotations

import argparse
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pytask_supervisor import __version__
from pytask_supervisor.config import Option, SupervisorConfig, options
from pytask_supervisor.redact import redact

FILE = "pyproject.toml"
TABLE = "pytask-supervisor"

#: One source's values, by option: the value, and how the source calls the option.
Found = dict[str, tuple[Any, str]]

HOW_TO_NAME_AN_APP = (
    "no app named: say --app MODULE:ATTR (a PyTask) or --tasks MODULE, set PYTASK_APP or "
    f"PYTASK_TASKS, or write app = 'MODULE:ATTR' under [tool.{TABLE}] in {FILE}"
)


class ConfigError(Exception):
    """What we were told cannot be meant; the text is one line for the user."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(redact(message))


def load_config(argv: Sequence[str], environ: Mapping[str, str], cwd: Path) -> SupervisorConfig:
    """Flag beats environment beats file beats default. ``--help`` raises ``SystemExit``."""
    flags = _from_flags(argv)
    variables = _from_environment(environ)
    chdir = (flags.get("chdir") or variables.get("chdir") or ("", ""))[0]
    folder = cwd / chdir
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder} to change to")
    sources = [flags, variables, _from_file(folder / FILE)]
    _settle_app_or_tasks(sources)

    values: dict[str, Any] = {}
    given = set()
    for option in options():
        value, place = option.default, option.flag
        for source in sources:
            if option.name in source:
                value, place = source[option.name]
                given.add(option.name)
                break
        values[option.name] = _read(option, value, place)
    return SupervisorConfig(**values, given=frozenset(given))


def _read(option: Option, value: Any, place: str) -> Any:
    if value is None or value == ():
        return value
    try:
        return option.read(value)
    except ValueError as error:
        raise ConfigError(f"{place} {error}") from error


def _settle_app_or_tasks(sources: list[Found]) -> None:
    """The first source that names either decides; whatever later ones name is dropped."""
    decided = False
    for source in sources:
        if decided:
            source.pop("app", None)
            source.pop("tasks", None)
        elif "app" in source and "tasks" in source:
            app, tasks = source["app"][1], source["tasks"][1]
            raise ConfigError(f"{app} and {tasks} exclude each other: name an app, or modules")
        decided = decided or "app" in source or "tasks" in source
    if not decided:
        raise ConfigError(HOW_TO_NAME_AN_APP)


def _from_flags(argv: Sequence[str]) -> Found:
    found = vars(_parser().parse_args(argv))
    return {option.name: (found[option.name], option.flag) for option in options() if option.name in found}


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pytask-supervisor",
        description="Keep gevent workers alive that run pytask tasks.",
        epilog=f"Each flag is also a variable PYTASK_... in the environment (--redis: "
        f"PYTASK_REDIS_URL) and a key of [tool.{TABLE}] in {FILE}; the flag wins, then the "
        "environment.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    for option in options():
        default = "" if option.default in (None, ()) else f" (default: {_plain(option.default)})"
        arguments: dict[str, Any] = {"nargs": "+", "action": "extend"} if option.many else {}
        parser.add_argument(
            option.flag,
            dest=option.name,
            metavar=option.metavar,
            help=option.help + default,
            **arguments,
        )
    return parser


def _plain(default: Any) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default)


def _from_environment(environ: Mapping[str, str]) -> Found:
    # An empty variable is how compose files and unit files say "not set".
    return {
        option.name: (environ[option.environment], option.environment)
        for option in options()
        if environ.get(option.environment)
    }


def _from_file(path: Path) -> Found:
    known = {option.name: option for option in options() if option.in_file}
    found: Found = {}
    for key, value in _table(path).items():
        name = key.replace("-", "_")
        place = f"{key} in {path}"
        if name == "chdir":
            raise ConfigError(f"{place} cannot be: the file is looked for in that very folder")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
            raise ConfigError(f"{place} is no option of [tool.{TABLE}]{hint}")
        if name in found:
            raise ConfigError(f"{place} is there twice, with dash and with underscore")
        found[name] = (value, place)
    return found


def _table(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    tools = content.get("tool", {})
    table = tools.get(TABLE, {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(f"tool.{TABLE} in {path} must be a table")
    return table
