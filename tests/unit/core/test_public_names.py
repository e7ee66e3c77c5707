"""``import pytask_core`` loads next to nothing; each public name comes when it is first used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pytask_core


def run(code: str) -> str:
    """What a fresh Python prints that runs this code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_public_name_can_be_had_is_listed_and_is_known_to_type_checkers() -> None:
    tree = ast.parse(Path(pytask_core.__file__).read_text("utf-8"))
    declared = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level for alias in node.names
    }
    assert declared == set(pytask_core.__all__)
    assert set(pytask_core.__all__) <= set(dir(pytask_core))
    for name in pytask_core.__all__:
        assert getattr(pytask_core, name).__name__ == name
        assert getattr(pytask_core, name).__module__.startswith("pytask_core.")


def test_a_star_brings_all_public_names() -> None:
    assert run("from pytask_core import *\nprint(PyTask.__name__, Cleanup.NAME)") == "PyTask pytask/cleanup\n"


def test_public_modules_are_attributes_without_an_import_of_their_own() -> None:
    words = "pytask.PyTask, p.task.Task, p.helpers.run_loop, p.tasks.Monitor, p.errors.StopTask, p.states.TaskState"
    assert run(f"import pytask_core as p\nprint(all([p.{words}]))") == "True\n"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pytask_core' has no attribute 'PyTasks'"):
        getattr(pytask_core, "PyTasks")  # noqa: B009 - mypy would find it
    with pytest.raises(ImportError, match="PyTasks"):
        exec("from pytask_core import PyTasks", {})


@pytest.mark.parametrize("module", ["pytask_core", "pytask_core.keys", "pytask_core.states", "pytask_core.errors"])
def test_what_the_supervisor_shares_with_the_core_loads_no_library(module: str) -> None:
    code = f"import {module}, sys\nprint({{'gevent', 'greenlet', 'redis', 'logging', 'asyncio'}} & set(sys.modules))"
    assert run(code) == "set()\n"


@pytest.mark.parametrize(
    "line",
    [
        "from pytask_core import PyTask",
        "from pytask_core import PyTaskHelpers",
        "from pytask_core import Monitor",
        "from pytask_core.pytask import PyTask",
        "from pytask_core.helpers import PyTaskHelpers",
        "from pytask_core.tasks import Cleanup",
    ],
)
def test_every_logger_is_bounded_by_whatever_name_the_core_is_loaded(line: str) -> None:
    code = f"""
import logging
logging.getLogger('pytask.supervisor')
{line}
from pytask_core.process.log_lines import Bounds, Steadfast
names = [name for name in logging.root.manager.loggerDict if name.startswith('pytask')]
loggers = [logging.getLogger(name) for name in names]
print(len(names) > 2, [each for each in loggers if not isinstance(each, Steadfast) or len(each.filters) != 1])
"""
    assert run(code) == "True []\n"


@pytest.mark.parametrize(
    "lines",
    [
        "patch()\nimport pytask_core",
        "import pytask_core\npatch()",
        "import pytask_core\npytask_core.PyTask\npatch()",
        "from pytask_core import PyTask, Monitor, Cleanup\npatch()",
    ],
)
def test_gevent_may_patch_before_or_after_the_core_is_imported(lines: str) -> None:
    code = f"""
from gevent import spawn, joinall
from gevent.monkey import patch_all as patch
{lines}
found = [spawn(lambda: pytask_core.PyTaskHelpers) for _ in range(3)] if 'pytask_core' in dir() else []
joinall(found, raise_error=True)
import socket, gevent.socket, redis.connection
print(redis.connection.socket.socket is gevent.socket.socket, len({{each.value for each in found}}))
"""
    assert run(code) in ("True 1\n", "True 0\n")
