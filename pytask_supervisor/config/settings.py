"""Fills ``SupervisorConfig``: flag beats environment beats ``pyproject.toml`` beats default.

``cli.main`` calls ``load_config``; nothing here reads the real environment or the command line by
itself. Every mistake is a ``ConfigError``: one line that names the option and where it was set.
"""

from __future__ import annotations

import argparse
import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pytask_core.keys import KEY_NAMES, clashes
from pytask_supervisor import __version__
from pytask_supervisor.config.options import Option, SupervisorConfig, options
from pytask_supervisor.shared.exits import StartError
from pytask_supervisor.shared.redact import redact

FILE = "pyproject.toml"
TABLE = "pytask-supervisor"

#: One source's values, by option: the value, and how the source calls the option.
Found = dict[str, tuple[Any, str]]

#: How similar to an option a name must be for a hint, from 0 to 1: other programs may have names beside ours.
LIKE = 0.85

#: Flags that ask for an answer instead of a start.
QUESTIONS = {
    "check": "check every option, load the app in a separate process, print OK or what is wrong, and exit",
    "print": "print each option with its value and origin, as TOML without passwords, and exit",
}

HOW_TO_NAME_AN_APP = (
    "no app is named: use --app MODULE:ATTR (a PyTask) or --tasks MODULE, set PYTASK_APP or PYTASK_TASKS, or write "
    f"app = 'MODULE:ATTR' under [tool.{TABLE}] in {FILE}"
)


class ConfigError(StartError):
    """An option is wrong; the text is one line for the user."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(redact(message))


@dataclass(frozen=True)
class Settings:
    """What was found, by the name of the option."""

    #: What they mean; the default in place of a mistake.
    values: dict[str, Any]
    #: As they were written.
    raw: dict[str, Any]
    #: Where each was set: the flag, the variable, or the key and its file. Defaults are not in it.
    places: dict[str, str]
    #: Every mistake, a line each.
    mistakes: tuple[str, ...]
    #: Names that are not read, and look like a misspelt option, a line each.
    warnings: tuple[str, ...]
    #: ``check`` or ``print`` for an answer instead of a start.
    asked: str | None
    #: Where the app is looked for, links followed.
    folder: str

    @property
    def config(self) -> SupervisorConfig:
        """The values. Raises ``ConfigError`` with the first mistake."""
        if self.mistakes:
            raise ConfigError(self.mistakes[0])
        return SupervisorConfig(**self.values, given=frozenset(self.places), folder=self.folder)


def load_config(argv: Sequence[str], environ: Mapping[str, str], cwd: Path) -> SupervisorConfig:
    """Flag beats environment beats file beats default. ``--help`` raises ``SystemExit``."""
    return load_settings(argv, environ, cwd).config


def load_settings(argv: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Settings:
    """As ``load_config``, with every mistake and warning. What cannot be read at all raises ``ConfigError``."""
    flags, asked = _from_flags(argv)
    variables = _from_environment(environ)
    chdir = (flags.get("chdir") or variables.get("chdir") or ("", ""))[0]
    folder = cwd / chdir
    if not folder.is_dir():
        raise ConfigError(f"--chdir: there is no folder {folder}")
    mistakes: list[str] = []
    warnings = _misspelt(environ)
    sources = [flags, variables, _from_file(folder / FILE, mistakes, warnings)]
    mistakes += _settle_app_or_tasks(sources)

    raw = {option.name: option.default for option in options()}
    places: dict[str, str] = {}
    for source in reversed(sources):
        raw |= {name: value for name, (value, _) in source.items()}
        places |= {name: place for name, (_, place) in source.items()}
    values = {option.name: _read(option, raw, places, mistakes) for option in options()}
    if values["tasks"]:
        mistakes += _clashes(values)
    return Settings(values, raw, places, tuple(mistakes), tuple(warnings), asked, str(folder.resolve()))


def _read(option: Option, raw: dict[str, Any], places: dict[str, str], mistakes: list[str]) -> Any:
    value = raw[option.name]
    if option.name not in places and value in (None, ()):
        return value
    try:
        return option.read(value)
    except ValueError as error:
        mistakes.append(f"{places.get(option.name, option.flag)} {error}")
        return option.default


def _settle_app_or_tasks(sources: list[Found]) -> list[str]:
    """The first source that names either decides, and what later ones name is dropped. Returns the mistakes."""
    decided = False
    for source in sources:
        if decided:
            source.pop("app", None)
            source.pop("tasks", None)
        elif "app" in source and "tasks" in source:
            app, tasks = source["app"][1], source["tasks"][1]
            return [f"{app} and {tasks} cannot be used together: name an app or modules"]
        decided = decided or "app" in source or "tasks" in source
    return [] if decided else [HOW_TO_NAME_AN_APP]


def _clashes(values: Mapping[str, Any]) -> list[str]:
    """Key names that cannot be used together. The core checks them too, but only in a worker."""
    flags = {option.name: option.flag for option in options()}
    return clashes({name: values[name] for name in KEY_NAMES}, flags.__getitem__)


def _from_flags(argv: Sequence[str]) -> tuple[Found, str | None]:
    found = vars(_parser().parse_args(argv))
    flags = {option.name: (found[option.name], option.flag) for option in options() if option.name in found}
    return flags, found.get("asked")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pytask-supervisor",
        description="Run pytask tasks in gevent workers, and keep the workers alive.",
        epilog="Each flag can also be set as a variable PYTASK_... in the environment (--redis: PYTASK_REDIS_URL), or "
        f"as a key of [tool.{TABLE}] in {FILE}. A flag overrules the environment, and that overrules the file.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    asked = parser.add_mutually_exclusive_group()
    for word, meaning in QUESTIONS.items():
        asked.add_argument(f"--{word}-config", dest="asked", action="store_const", const=word, help=meaning)
    for option in options():
        _add_flag(parser, option)
    return parser


def _add_flag(parser: argparse.ArgumentParser, option: Option) -> None:
    if option.is_switch:
        for flag, value in ((option.flag, "true"), (f"--no-{option.key}", "false")):
            words = option.help if value == "true" else argparse.SUPPRESS
            parser.add_argument(flag, dest=option.name, action="store_const", const=value, help=words)
        return
    default = "" if option.default in (None, ()) else f" (default: {plain(option.default)})"
    arguments: dict[str, Any] = {"nargs": "+", "action": "extend"} if option.many else {}
    parser.add_argument(option.flag, dest=option.name, metavar=option.metavar, help=option.help + default, **arguments)


def plain(default: Any) -> str:
    """A default as people write it."""
    return f"{default:g}" if isinstance(default, float) else str(default)


def _from_environment(environ: Mapping[str, str]) -> Found:
    # An empty variable is how compose files and unit files say "not set".
    return {
        option.name: (environ[option.environment], option.environment)
        for option in options()
        if environ.get(option.environment)
    }


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    known = [option.environment for option in options()]
    unknown = [name for name in environ if name.startswith("PYTASK_") and environ[name] and name not in known]
    nearest = {name: difflib.get_close_matches(name, known, n=1, cutoff=LIKE) for name in unknown}
    return [f"{name} is not read; did you mean {near[0]}?" for name, near in nearest.items() if near]


def texts_in_file(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Some options from the file in a folder, all of them texts; raises ``ConfigError``."""
    mistakes: list[str] = []
    found = _from_file(folder / FILE, mistakes, [])
    known = {option.name: option for option in options()}
    texts = {}
    for name in names:
        if name in found:
            value, place = found[name]
            try:
                texts[name] = str(known[name].read(value))
            except ValueError as error:
                raise ConfigError(f"{place} {error}") from error
    return texts


def _from_file(path: Path, mistakes: list[str], warnings: list[str]) -> Found:
    known = {option.name: option for option in options() if option.in_file}
    found: Found = {}
    for key, value in _table(path, warnings).items():
        name = key.replace("-", "_")
        place = f"{key} in {path}"
        if name == "chdir":
            mistakes.append(f"{place} is not allowed: the file is looked for in that folder")
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
            mistakes.append(f"{place} is not an option of [tool.{TABLE}]{hint}")
        elif name in found:
            mistakes.append(f"{place} is set twice, with a dash and with an underscore")
        else:
            found[name] = (value, place)
    return found


def _table(path: Path, warnings: list[str]) -> dict[str, Any]:
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
    tools = tools if isinstance(tools, dict) else {}
    others = [name for name in tools if name != TABLE]
    near = difflib.get_close_matches(TABLE, others, cutoff=LIKE)
    warnings += [f"[tool.{name}] in {path} is not read; did you mean [tool.{TABLE}]?" for name in near]
    table = tools.get(TABLE, {})
    if not isinstance(table, dict):
        raise ConfigError(f"tool.{TABLE} in {path} must be a table")
    return table
