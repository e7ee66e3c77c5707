"""Who may import whom, in both packages: the table of ``docs/design.rst``, held by reading imports.

A room is a module of a package, or a folder in it. It may import the rooms that stand beside it
here. An import inside a function, or for the type checker alone, is not made when the room is
loaded: what is allowed only there stands in ``lazy``. Two rules matter most: the core never knows
the supervisor, and nothing that the master loads leads to gevent, redis or the core.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Rules:
    """What the rooms of one package may import.

    ``rooms``: other rooms of the package, always; ``lazy``: the same, but not at load time.
    ``guarded``: packages that only some rooms may name: these at any time, ``guarded_lazy`` lazily.
    """

    rooms: dict[str, set[str]]
    lazy: dict[str, set[str]]
    guarded: dict[str, set[str]]
    guarded_lazy: dict[str, set[str]] = field(default_factory=dict)


CHILD_ONLY = {"loader", "loading", "preloaded", "liaison", "gauges", "parting", "ctl"}

SUPERVISOR = Rules(
    rooms={
        # The ground floor.
        "__init__": set(),
        "exits": set(),
        "redact": set(),
        "cpus": set(),
        "respawn": set(),
        "shapes": set(),
        "messages": {"shapes"},
        "channel": {"messages", "shapes"},
        "signals": set(),
        "ledger": set(),
        "oom": set(),
        "shortage": set(),
        "tally": set(),
        "server": set(),
        "rendezvous": set(),
        "guardian": set(),
        "lines": set(),
        "shown": set(),
        "summing": {"shown"},
        "logs": {"lines", "redact", "shown", "summing"},
        # What we were told.
        "kinds": {"cpus", "redact"},
        "config": {"kinds"},
        "settings": {"__init__", "config", "exits", "redact"},
        "inspection": {"__init__", "config", "exits", "redact", "settings"},
        "pidfile": {"exits"},
        "ground": {"config", "exits", "pidfile"},
        # The master.
        "child": {"channel", "ledger", "messages", "shapes"},
        "orders": {"child", "ledger"},
        "spawner": {"channel", "child", "config", "exits", "logs", "redact", "signals"},
        "team": {"child", "ledger", "respawn", "shortage", "spawner"},
        "evidence": set(),
        "watchdog": {"child", "evidence", "exits", "ledger"},
        "changes": {"redact"},
        "rolling": {"changes", "child", "ledger", "shortage", "team"},
        "nursery": {"channel", "config", "exits", "messages", "respawn", "shapes", "shortage", "signals", "spawner"},
        "preloading": {"exits", "nursery", "spawner", "team"},
        "notify": set(),
        "announcer": {"logs", "notify", "team"},
        "deaths": {"child", "exits", "ledger", "logs", "oom", "orders", "respawn", "rolling", "team"},
        "recycling": {"child", "config", "ledger", "respawn", "rolling", "team"},
        "reloading": {"changes", "config", "exits", "ledger", "logs", "preloading", "rolling", "spawner", "team"},
        "helm": {"child", "kinds", "ledger", "logs", "reloading", "settings", "spawner", "team"},
        "hearing": {"child", "deaths", "ledger", "logs", "messages", "orders", "shapes", "tally"},
        "ending": {"deaths", "exits", "guardian", "helm", "ledger", "logs", "orders", "spawner", "team"},
        "supervisor": {"config", "deaths", "ending", "exits", "guardian", "hearing", "helm", "ledger", "logs"}
        | {"oom", "orders", "reception", "recycling", "reloading", "rolling", "signals", "spawner", "tally", "team"}
        | {"announcer", "notify", "nursery", "preloading", "watchdog"},
        # Those who ask it.
        "census": {"child"},
        "health": {"helm"},
        "control": {"__init__", "helm", "rendezvous", "server", "tally"},
        "web": {"health", "helm", "server"},
        "metrics": {"helm", "logs", "tally"},
        "reception": {"census", "child", "config", "control", "helm", "rendezvous", "server", "tally", "web"},
        "cli": {"__init__", "config", "exits", "guardian", "logs", "reception", "respawn", "settings", "signals"}
        | {
            "announcer",
            "ground",
            "inspection",
            "notify",
            "nursery",
            "pidfile",
            "spawner",
            "supervisor",
            "team",
            "worker",
        },
        "__main__": {"cli"},
        # The child.
        "copies": {"signals"},
        "worker": {"copies", "exits", "logs", "shortage", "signals", "spawner"},
        "parting": set(),
        "leash": {"channel", "exits"},
        "liaison": {"channel", "gauges", "logs", "messages"},
        "gauges": {"logs"},
        "loader": {"config", "exits"},
        "preloaded": {
            "channel",
            "copies",
            "exits",
            "leash",
            "logs",
            "messages",
            "nursery",
            "signals",
            "spawner",
            "worker",
        },
        "loading": {"config", "exits", "ground", "logs", "redact"},
        # The other command.
        "ctl": {"__init__", "ctl", "messages", "redact", "rendezvous", "settings", "shapes"},
    },
    lazy={
        "worker": {"gauges", "leash", "liaison", "loader", "loading", "parting"},
        "liaison": {"leash"},
        "loading": {"loader"},
        "cli": {"loading", "preloaded"},
        "preloaded": {"loading"},
        "reception": {"metrics"},
    },
    guarded={
        "pytask_core": CHILD_ONLY,
        "gevent": CHILD_ONLY,
        "greenlet": CHILD_ONLY,
        "redis": {"ctl"},
        "hiredis": set(),
        "rich": {"ctl"},
        "psutil": {"gauges"},
        "prometheus_client": {"metrics"},
        "ctypes": set(),
    },
    guarded_lazy={"pytask_core": {"worker"}, "ctypes": {"leash", "nursery"}},
)

#: All rooms of the core but those that must run without greenlets.
GREEN = {
    "alone",
    "log_locks",
    "claimer",
    "early",
    "control",
    "current",
    "draining",
    "errands",
    "heartbeat",
    "greenlets",
    "leaving",
    "link",
    "local_tasks",
    "loops",
    "nudges",
    "parking",
    "pressure",
    "pytask",
    "reporter",
    "runner",
    "running",
    "shutdown",
    "signals",
    "stacks",
    "tasks",
}

CORE = Rules(
    rooms={
        "errors": set(),
        "states": set(),
        "keys": set(),
        "current": set(),
        "lease": set(),
        "loops": set(),
        "greenlets": {"loops"},
        "figures": set(),
        "garbage": set(),
        "forks": set(),
        "log_locks": {"current", "greenlets"},
        "alone": {"forks"},
        "signals": {"forks"},
        "log_lines": set(),
        "private": set(),
        "embedded": {"private"},
        "deadlines": set(),
        "nodes": {"connection", "deadlines", "keys"},
        "scripts": {"deadlines", "keys", "nodes"},
        "embedded_cluster": {"embedded"},
        "payload": {"errors"},
        "poison": {"payload"},
        "connection": {"connection", "embedded", "embedded_cluster", "errors", "forks"},
        "store": {"deadlines", "keys", "nodes", "payload", "poison", "scripts", "store"},
        "task": {"errors"},
        "task_classes": {"errors", "task"},
        "helpers": {"connection", "errors", "keys", "loops", "payload", "states", "store"},
        "link": {"connection", "greenlets", "loops"},
        "running": {"task"},
        "reporter": {"link", "running", "states", "store"},
        "leaving": {"current", "errors", "greenlets", "link", "reporter", "running", "store", "task"},
        "runner": {
            "current",
            "errors",
            "figures",
            "forks",
            "leaving",
            "link",
            "payload",
            "reporter",
            "running",
            "states",
        }
        | {"store", "task"},
        "stacks": {"leaving", "runner", "running"},
        "pressure": set(),
        "draining": {"running"},
        "allowance": {"runner"},
        "early": {"greenlets", "link", "store"},
        "nudges": {"allowance", "greenlets", "link", "store"},
        "claimer": {"allowance", "early", "link", "nudges", "pressure", "runner", "running", "store"},
        "heartbeat": {"lease", "link", "runner", "running", "store"},
        "control": {"connection", "keys", "link", "loops", "runner", "store"},
        "errands": {"claimer", "connection", "greenlets", "keys", "link", "poison"},
        "parking": {"link", "running", "store"},
        "local_tasks": {"errors", "greenlets", "link", "loops", "payload", "runner", "running", "store"},
        "shutdown": {"claimer", "errands", "greenlets", "leaving", "link", "reporter", "runner"},
        "worker": {"allowance", "alone", "forks", "log_locks"}
        | {"claimer", "connection", "control", "draining", "errands", "errors", "figures", "heartbeat", "keys"}
        | {
            "garbage",
            "greenlets",
            "lease",
            "link",
            "local_tasks",
            "loops",
            "nudges",
            "parking",
            "poison",
            "pressure",
            "reporter",
            "runner",
            "running",
            "shutdown",
        }
        | {"scripts", "store", "task"},
        "pytask": {"connection", "errors", "helpers", "lease", "payload", "poison", "runner", "signals", "task"}
        | {"task_classes", "worker"},
        "tasks": {"connection", "errors", "link", "loops", "payload", "poison", "task"},
        "__init__": {"current", "errors", "helpers", "log_lines", "pytask", "states", "task", "tasks"},
    },
    # For the type checker: a task is given its helpers, and Monitor and Cleanup know their worker.
    lazy={
        "task": {"helpers", "worker"},
        "tasks": {"link", "store", "worker"},
        "worker": {"helpers"},
        "errands": {"helpers", "store"},
        "shutdown": {"store"},
    },
    guarded={
        "pytask_supervisor": set(),
        "gevent": GREEN | {"connection", "worker"},
        "redis": {"connection", "deadlines", "nodes", "scripts"},
        "rediscluster": {"connection"},
        "hiredis": {"connection"},
    },
)


@dataclass(frozen=True)
class Import:
    """One import: in which room, where, of what, and whether it is made when the room is loaded."""

    room: str
    place: str
    target: str
    is_lazy: bool


def imports(package: Path) -> Iterator[Import]:
    """Every import of every file below ``package``."""
    for path in sorted(package.rglob("*.py")):
        inner = path.relative_to(package)
        tree = ast.parse(path.read_text(), str(path))
        lazy = {id(inside) for node in ast.walk(tree) if _is_lazy(node) for inside in ast.walk(node)}
        for node in ast.walk(tree):
            for target in _targets(node, [package.name, *inner.parts[:-1]]):
                place = f"{package.name}/{inner}:{getattr(node, 'lineno', 0)}"
                yield Import(inner.parts[0].removesuffix(".py"), place, target, id(node) in lazy)


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


def violations(package: Path, rules: Rules) -> list[str]:
    """What breaks the rules in ``package``: one line each."""
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    found = [f"{package.name}/{room} is not in the table" for room in sorted(rooms - set(rules.rooms))]
    for item in imports(package):
        first, *rest = item.target.split(".")
        if first == package.name:
            room = rest[0] if rest and rest[0] in rooms else "__init__"
            always, lazily = rules.rooms, rules.lazy
            is_allowed = _is_allowed(room, item, always.get(item.room, set()), lazily.get(item.room, set()))
        else:
            guarded, lazy = rules.guarded, rules.guarded_lazy
            is_allowed = first not in guarded or _is_allowed(item.room, item, guarded[first], lazy.get(first, set()))
        if not is_allowed:
            found.append(f"{item.place}: {item.room} must not import {item.target}")
    return found


def _is_allowed(name: str, item: Import, always: set[str], lazily: set[str]) -> bool:
    return name in always or (item.is_lazy and name in lazily)


def test_every_import_of_the_supervisor_follows_the_table() -> None:
    assert violations(ROOT / "pytask_supervisor", SUPERVISOR) == []


def test_every_import_of_the_core_follows_the_table() -> None:
    assert violations(ROOT / "pytask_core", CORE) == []


def test_the_tables_have_no_circle() -> None:
    """Each room can be understood with what it imports, and without what imports it."""
    for rules in (SUPERVISOR, CORE):
        left = {room: others - {room} for room, others in rules.rooms.items()}
        while left:
            ground = {room for room, others in left.items() if not others & set(left)}
            assert ground, f"these import each other: {left}"
            left = {room: others for room, others in left.items() if room not in ground}


def test_what_the_master_loads_leads_to_no_room_of_the_child() -> None:
    loaded, waiting = set[str](), ["__main__"]
    while waiting:
        room = waiting.pop()
        loaded.add(room)
        waiting += SUPERVISOR.rooms[room] - loaded
    assert not loaded & (CHILD_ONLY | {"leash"})


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("supervisor.py", "import gevent", "supervisor must not import gevent"),
        ("cli.py", "from redis.asyncio import Redis", "cli must not import redis.asyncio.Redis"),
        ("team.py", "def f():\n    from pytask_core import Task", "team must not import pytask_core.Task"),
        ("worker.py", "from pytask_core import PyTask", "worker must not import pytask_core.PyTask"),
        ("worker.py", "from pytask_supervisor import loading", "worker must not import pytask_supervisor.loading"),
        ("worker.py", "def f():\n    from pytask_core.errors import PyTaskException", ""),
        ("worker.py", "if TYPE_CHECKING:\n    from pytask_core import PyTask", ""),
        ("exits.py", "from .team import Team", "exits must not import pytask_supervisor.team.Team"),
        ("child.py", "from . import team", "child must not import pytask_supervisor.team"),
        ("team.py", "from importlib import import_module\nimport_module('gevent')", "team must not import gevent"),
        ("loader.py", "import gevent, pytask_core", ""),
        ("ctl/verbs.py", "from ..team import Team", "ctl must not import pytask_supervisor.team.Team"),
        ("extra.py", "", "pytask_supervisor/extra is not in the table"),
    ],
)
def test_a_wrong_import_in_the_supervisor_is_found(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    assert complaints(tmp_path / "pytask_supervisor", file, code, SUPERVISOR) == ([complaint] if complaint else [])


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("worker.py", "from pytask_supervisor import exits", "worker must not import pytask_supervisor.exits"),
        ("worker.py", "def f():\n    import pytask_supervisor", "worker must not import pytask_supervisor"),
        ("embedded.py", "from .errors import PyTaskException", "embedded must not import pytask_core.errors.PyTas"),
        ("keys.py", "import gevent", "keys must not import gevent"),
        ("store/worker.py", "from ..runner import TaskRunner", "store must not import pytask_core.runner.TaskRunner"),
        ("store/worker.py", "from ..keys import RedisKeys\nfrom .client import Client", ""),
        ("runner.py", "import redis", "runner must not import redis"),
    ],
)
def test_a_wrong_import_in_the_core_is_found(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    found = complaints(tmp_path / "pytask_core", file, code, CORE)
    assert len(found) == bool(complaint)
    assert all(line.startswith(complaint) for line in found)


def complaints(package: Path, file: str, code: str, rules: Rules) -> list[str]:
    """What is said of a package that is all empty rooms but for one file."""
    for room in rules.rooms:
        package.mkdir(exist_ok=True)
        (package / room).with_suffix(".py").write_text("")
    (package / file).parent.mkdir(exist_ok=True)
    (package / file).write_text(code)
    return [line.rpartition(": ")[2] for line in violations(package, rules)]
