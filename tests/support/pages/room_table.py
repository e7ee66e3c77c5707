"""The tables of rooms in ``docs/design.rst``, from ``tests/rooms.toml`` and docstrings. Run it to write them again."""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "design.rst"
TABLES = tomllib.loads((ROOT / "tests" / "rooms.toml").read_text("utf-8"))


def job(path: Path) -> str:
    """What a module or package is for: the first sentence of its docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"), str(path))) or ""
    sentence = re.match(r".+?\.(?=\s|$)", docstring, re.DOTALL)
    return " ".join(sentence[0].split()) if sentence else ""


def sources() -> Iterator[Path]:
    """Every module of both packages, a package as its ``__init__``."""
    for tree in TABLES:
        yield from sorted((ROOT / tree).rglob("*.py"))


def _rooms(tree: str) -> str:
    """The rooms of a tree: none imports one that stands above it."""
    rows = []
    for room, imports in reversed(TABLES[tree]["imports"].items()):
        path = ROOT / tree / room
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        rows.append((f"``{_name(room, tree)}``", job(path), ", ".join(_allowed(room, imports, tree)) or "nothing"))
    return f"{tree}\n{'~' * len(tree)}\n\n{_table(('room', 'its job', 'may import'), rows, (0, 58, 42))}"


def _allowed(room: str, imports: list[str], tree: str) -> Iterator[str]:
    """Rooms and guarded packages; in parentheses those that are not loaded with the room."""
    table = TABLES[tree]
    yield from imports
    yield from (name for name, rooms in table["guarded"].items() if room in rooms)
    lazily = [name for name, rooms in table["guarded_lazily"].items() if room in rooms]
    yield from (f"({name})" for name in [*table["lazily"].get(room, []), *lazily])


def _name(room: str, tree: str) -> str:
    return f"{room}/" if (ROOT / tree / room).is_dir() else f"{room}.py"


def _packages(tree: str) -> Iterator[str]:
    """The modules of each package of a tree."""
    for init in sorted((ROOT / tree).rglob("*/__init__.py")):
        folder = init.parent
        modules = sorted(path for path in folder.glob("*.py") if path != init)
        if modules:
            name = f"``{folder.relative_to(ROOT)}/``"
            rows = [(f"``{path.name}``", job(path)) for path in modules]
            yield f"{name}\n\n{_table(('module', 'its job'), rows, (0, 100))}"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]], widths: tuple[int, ...]) -> str:
    """A simple table: the first column is as wide as it must be, the others are wrapped."""
    widths = (max(len(row[0]) for row in rows), *widths[1:])
    rule = " ".join("=" * width for width in widths)
    lines = [rule, *_lines(header, widths), rule]
    for row in rows:
        lines += _lines(row, widths)
    return "\n".join([*lines, rule, ""])


def _lines(row: tuple[str, ...], widths: tuple[int, ...]) -> Iterator[str]:
    cells = [textwrap.wrap(text, width, break_on_hyphens=False) for text, width in zip(row, widths, strict=True)]
    for line in zip_longest(*cells, fillvalue=""):
        yield " ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()


def written() -> str:
    """The page with the tables as they should be."""
    text = PAGE.read_text("utf-8")
    for name, blocks in (("rooms", map(_rooms, TABLES)), ("modules", chain.from_iterable(map(_packages, TABLES)))):
        begin, end = f".. begin of the tables of {name}\n", f"\n.. end of the tables of {name}\n"
        before, found, rest = text.partition(begin)
        _, still_found, after = rest.partition(end)
        assert found, f"the page lacks: {begin}"
        assert still_found, f"the page lacks: {end}"
        text = f"{before}{begin}\n{chr(10).join(blocks)}{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")
