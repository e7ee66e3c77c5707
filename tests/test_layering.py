"""Who may import whom, in both packages: ``tests/rooms.toml``, held by reading imports.

Two rules matter most: the core never knows the supervisor, and nothing that the master loads leads to gevent or redis.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLES = tomllib.loads(Path(__file__).with_name("rooms.toml").read_text("utf-8"))
PACKAGES = [ROOT / name for name in TABLES]


@dataclass(frozen=True)
class Rules:
    """What the rooms of one package may import: see ``rooms.toml``."""

    imports: dict[str, list[str]]
    lazily: dict[str, list[str]] = field(default_factory=dict)
    guarded: dict[str, list[str]] = field(default_factory=dict)
    guarded_lazily: dict[str, list[str]] = field(default_factory=dict)


RULES = {name: Rules(**table) for name, table in TABLES.items()}


@dataclass(frozen=True)
class Import:
    """One import: in which file, of what, and whether it is made when the file is loaded."""

    module: str
    place: str
    target: str
    is_lazy: bool


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name, a package as its ``__init__``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path) -> Iterator[Import]:
    """Every import of every file below ``package``."""
    for module, path in modules(package).items():
        tree = ast.parse(path.read_text("utf-8"), str(path))
        lazy = {id(inside) for node in ast.walk(tree) if _is_lazy(node) for inside in ast.walk(node)}
        parents = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        for node in ast.walk(tree):
            for target in _targets(node, parents):
                place = f"{path.relative_to(package.parent)}:{getattr(node, 'lineno', 0)}"
                yield Import(module, place, target, id(node) in lazy)


def _is_lazy(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return True
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _targets(node: ast.AST, parents: list[str]) -> Iterator[str]:
    """The dotted names that a node imports, relative ones made absolute."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = parents[: len(parents) + 1 - node.level] if node.level else []
        base += [node.module] if node.module else []
        yield from (".".join([*base, alias.name]) for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        yield from (str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant))


def room_of(dotted: str, rules: Rules) -> str:
    """The room in which a module, or a name in one, lies: the longest that the table has."""
    _, *rest = dotted.split(".")
    for length in (2, 1):
        if "/".join(rest[:length]) in rules.imports:
            return "/".join(rest[:length])
    return "__init__"


def violations(package: Path, rules: Rules) -> list[str]:
    """What breaks the rules in ``package``: one line each."""
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    found = [f"{package.name}/{room} is not in the table" for room in sorted(rooms - set(rules.imports))]
    for item in imports(package):
        room = room_of(item.module, rules)
        first = item.target.partition(".")[0]
        if first == package.name:
            other = room_of(item.target, rules)
            is_allowed = other == room or _is_allowed(other, item, rules.imports.get(room), rules.lazily.get(room))
        elif first in rules.guarded:
            guard = _longest_prefix(item.target, rules.guarded) or first
            is_allowed = _is_allowed(room, item, rules.guarded[guard], rules.guarded_lazily.get(guard))
        else:
            is_allowed = True
        if not is_allowed:
            found.append(f"{item.place}: {room} must not import {item.target}")
    return found


def _is_allowed(name: str, item: Import, always: list[str] | None, lazily: list[str] | None) -> bool:
    return name in (always or ()) or (item.is_lazy and name in (lazily or ()))


def loads(*packages: Path) -> dict[str, set[str]]:
    """For each module the others that are loaded with it: each named module, and the packages above it."""
    known = {name for package in packages for name in modules(package)}
    found: dict[str, set[str]] = {name: set() for name in known}
    for package in packages:
        for item in imports(package):
            if not item.is_lazy:
                found[item.module] |= {_module(item.target, known)}
    return found


def _module(target: str, known: set[str]) -> str:
    """The module that a dotted name is, or lies in; of a package that is not ours its first word."""
    return _longest_prefix(target, known) or target.partition(".")[0]


def _longest_prefix(target: str, known: Collection[str]) -> str | None:
    parts = target.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((each for each in prefixes if each in known), None)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_import_follows_the_table(package: Path) -> None:
    assert violations(package, RULES[package.name]) == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_each_room_imports_only_rooms_that_stand_above_it(package: Path) -> None:
    """So there is no circle: each room can be understood with what it imports, and without what imports it."""
    table = RULES[package.name].imports
    order = list(table)
    early = {room: set(others) - set(order[: order.index(room)]) for room, others in table.items()}
    assert {room: others for room, others in early.items() if others} == {}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_no_two_modules_of_a_room_need_each_other(package: Path) -> None:
    own = {name: {each for each in others if each != name} for name, others in loads(package).items()}
    try:
        TopologicalSorter(own).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {error.args[1]}")


def test_what_the_master_loads_leads_to_neither_gevent_nor_redis() -> None:
    graph = loads(*PACKAGES)
    loaded, waiting = set[str](), ["pytask_supervisor.__main__"]
    while waiting:
        module = waiting.pop()
        loaded.add(module)
        parents = [module.rpartition(".")[0]] if "." in module else []
        waiting += (graph.get(module, set()) | set(parents)) - loaded
    assert not loaded & {"gevent", "greenlet", "redis", "hiredis", "psutil", "rich", "prometheus_client"}
    assert len(loaded) > 50


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("master/supervisor.py", "import gevent", "master must not import gevent"),
        ("cli.py", "from redis.asyncio import Redis", "cli must not import redis.asyncio.Redis"),
        ("host/pool.py", "def f():\n    from pytask_core import Task", "host must not import pytask_core.Task"),
        ("shared/exits.py", "from ..master.x import Y", "shared must not import pytask_supervisor.master.x.Y"),
        ("host/child.py", "from .. import master", "host must not import pytask_supervisor.master"),
        ("master/a.py", "from importlib import import_module\nimport_module('redis')", "master must not import redis"),
        ("child/loader.py", "import gevent, pytask_core", ""),
        ("config/types.py", "from pytask_core.keys import RedisKeys\nfrom pytask_core import redis_url", ""),
        ("config/types.py", "from pytask_core import keys, PyTask", "config must not import pytask_core.PyTask"),
        ("ctl/verbs.py", "from ..master.pool import Pool", "ctl must not import pytask_supervisor.master.pool.Pool"),
        ("extra.py", "", "pytask_supervisor/extra is not in the table"),
    ],
)
def test_a_wrong_import_in_the_supervisor_is_found(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    assert complaints(tmp_path / "pytask_supervisor", file, code) == ([complaint] if complaint else [])


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("worker/x.py", "from pytask_supervisor import exits", "worker must not import pytask_supervisor.exits"),
        ("worker/x.py", "def f():\n    import pytask_supervisor", "worker must not import pytask_supervisor"),
        ("embedded/server.py", "from ..errors import Gone", "embedded must not import pytask_core.errors.Gone"),
        ("keys.py", "import gevent", "keys must not import gevent"),
        ("store/worker.py", "from ..worker.x import Y", "store must not import pytask_core.worker.x.Y"),
        ("store/worker.py", "from ..keys import RedisKeys\nfrom .client import Client", ""),
        ("worker/executor.py", "import redis", "worker must not import redis"),
        ("task.py", "from .helpers import PyTaskHelpers", "task must not import pytask_core.helpers.PyTaskHelpers"),
        ("task.py", "if TYPE_CHECKING:\n    from .helpers import PyTaskHelpers", ""),
    ],
)
def test_a_wrong_import_in_the_core_is_found(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    assert complaints(tmp_path / "pytask_core", file, code) == ([complaint] if complaint else [])


def complaints(package: Path, file: str, code: str) -> list[str]:
    """What is said of a package that is empty but for one file."""
    (package / file).parent.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / file).parent.joinpath("__init__.py").write_text("")
    (package / file).write_text(code)
    return [line.rpartition(": ")[2] for line in violations(package, RULES[package.name])]
