"""What ``pytaskctl`` writes: JSON, tables for people, plain lines, and sentences for errors.

Called by the verbs. No id and no event can break the terminal or the JSON: control characters and bytes that are not
UTF-8 come out escaped, and passwords in URLs are left out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from pytask_supervisor.shared.redact import redact

#: Rows that become a table. More would take seconds to lay out, and are not read by people.
TABLE_ROWS = 1000


def printable(text: str, keep: str = "") -> str:
    """``text`` with everything escaped that steers a terminal, except what is in ``keep``."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text
    )


def as_text(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


class Unwritable(Exception):  # noqa: N818 - it is a state of affairs
    """The result cannot be written, for example because the disk is full."""


def write(text: str, stream: TextIO, *, end: str = "\n", flush: bool = False) -> None:
    """Write; raises ``Unwritable``, or ``BrokenPipeError`` where the reader has left."""
    try:
        print(text, file=stream, end=end, flush=flush)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritable(f"the result cannot be written: {error.strerror}") from error


class Output:
    """The two streams, and whether JSON is wanted.

    Args:
        stdout: gets results.
        stderr: gets sentences.
    """

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        self.as_json = False
        self.stdout = stdout
        self._stderr = stderr

    def complain(self, sentence: str) -> None:
        """One line on stderr."""
        print(f"pytaskctl: {printable(redact(sentence))}", file=self._stderr, flush=True)

    def line(self, *words: str) -> None:
        """One line of plain text, the words parted by tabs."""
        write("\t".join(printable(word) for word in words), self.stdout)

    def text(self, text: str) -> None:
        """Text that may have several lines, such as a traceback."""
        write(printable(text, keep="\n\t"), self.stdout)

    def json(self, value: Any) -> None:
        """One line of JSON, at once."""
        write(json.dumps(value), self.stdout, flush=True)

    def json_array(self, values: Iterable[Any]) -> None:
        """An array that is written as it comes, one value a line."""
        before = "["
        for value in values:
            write(before + json.dumps(value), self.stdout, end="")
            before = ",\n "
        write("[]" if before == "[" else "]", self.stdout)

    def flush(self) -> None:
        """Hand over what was written so far."""
        write("", self.stdout, end="", flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, compact: bool = False) -> None:
        """A table on a terminal, else lines with tabs, which have a head only if it is compact.

        Args:
            columns: the head.
            rows: a text for each column.
            compact: for many short columns, which are never folded and need their head.
        """
        coming: Iterator[Sequence[str]] = iter(rows)
        if self.stdout.isatty():
            first = list(itertools.islice(coming, TABLE_ROWS + 1))
            if len(first) <= TABLE_ROWS:
                self._rich_table(columns, first, compact)
                return
            coming = itertools.chain(first, coming)
        if compact:
            self.line(*columns)
        for row in coming:
            self.line(*row)

    def _rich_table(self, columns: Sequence[str], rows: list[Sequence[str]], compact: bool) -> None:
        from rich.box import SIMPLE  # noqa: PLC0415 - rich loads slowly, and programs read no tables
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(*columns, box=None if compact else SIMPLE, pad_edge=not compact, collapse_padding=compact)
        for column in table.columns:
            column.no_wrap = compact
            column.overflow = "ellipsis" if compact else "fold"
        for row in rows:
            # As Text, or rich would take "[bold]" in an id for markup.
            table.add_row(*(Text(printable(cell, keep="\n")) for cell in row))
        Console(file=self.stdout).print(table)
