"""No test touches what the product keeps for itself, so that the inside can change while the tests stay as they are.

Private is what begins with one underscore, and ``__pytask__``. A test class may use its own, by ``self`` or ``cls``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

#: What is private by its name alone, and why a test may use it: by the whole expression, or by file and name.
ALLOWED = {
    "os._exit": "a documented function of Python's, the only one that ends a forked process at once",
    "soak/tasks.py: __pytask__": "a run notes the token of its own copy; the hash may name another owner by then",
}


def touched(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Every use of a private name of somebody else: line, name, and the whole expression."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names, is_own = [node.attr], _is_own(node.value)
        elif isinstance(node, ast.ImportFrom):
            names, is_own = [alias.name for alias in node.names], False
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("getattr", "setattr", "delattr")):
            names = [str(word.value) for word in node.args[1:2] if isinstance(word, ast.Constant)]
            is_own = _is_own(node.args[0])
        else:
            continue
        yield from ((node.lineno, name, ast.unparse(node)) for name in names if _is_private(name, is_own=is_own))


def _is_own(node: ast.AST) -> bool:
    """Whether it is ``self``, ``cls`` or ``super()``."""
    if isinstance(node, ast.Call):
        return ast.unparse(node) == "super()"
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def _is_private(name: str, *, is_own: bool) -> bool:
    is_plain = name.startswith("_") and not name.startswith("__")
    return name == "__pytask__" or (is_plain and not is_own)


def complaints(folder: Path) -> list[str]:
    """One line for each use below a folder that no line above allows."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        file = path.relative_to(folder).as_posix()
        for line, name, expression in touched(ast.parse(path.read_text("utf-8"))):
            if expression not in ALLOWED and f"{file}: {name}" not in ALLOWED:
                found.append(f"{file}:{line}: {expression}")
    return found


def test_no_test_touches_a_private_name() -> None:
    assert complaints(TESTS) == []


def test_each_leave_is_needed() -> None:
    uses = [
        {expression, f"{path.relative_to(TESTS).as_posix()}: {name}"}
        for path in TESTS.rglob("*.py")
        for _, name, expression in touched(ast.parse(path.read_text("utf-8")))
    ]
    assert [each for each in ALLOWED if not any(each in use for use in uses)] == []


@pytest.mark.parametrize(
    ("code", "is_refused"),
    [
        ("worker._store", True),
        ("self.worker._store", True),
        ("worker._store.take(1)", True),
        ("from pytask_core.task import _Given", True),
        ("getattr(worker, '_store')", True),
        ("monkeypatch.setattr(worker, '_store', None)", True),
        ("task.__pytask__", True),
        ("self.__pytask__", True),
        ("self._own", False),
        ("cls._own", False),
        ("super()._own()", False),
        ("worker.__class__", False),
        ("worker.store", False),
        ("_own.take(1)", False),
        ("os._exit(0)", False),
    ],
)
def test_a_private_name_is_found(tmp_path: Path, code: str, is_refused: bool) -> None:
    (tmp_path / "test_it.py").write_text(code)
    assert complaints(tmp_path) == ([f"test_it.py:1: {code.removesuffix('.take(1)')}"] if is_refused else [])
