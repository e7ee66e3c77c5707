"""Exit codes, and how an end is put into words."""

from __future__ import annotations

import signal

import pytest

from pytask_supervisor.shared.exits import Exit, explain


def test_exit_codes_are_those_of_the_documentation() -> None:
    assert [(code.name, int(code)) for code in Exit] == [
        ("OK", 0),
        ("BUG", 1),
        ("USAGE", 2),
        ("LOAD", 3),
        ("REFUSED", 4),
        ("CRASH_LOOP", 5),
        ("KILLED", 6),
    ]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (0, "left by itself (exit code 0)"),
        (1 << 8, "ended with an unexpected error (exit code 1)"),
        (3 << 8, "could not load the app (exit code 3)"),
        (77 << 8, "ended with exit code 77"),
        (signal.SIGTERM, "was killed by SIGTERM"),
        (signal.SIGKILL, "was killed by SIGKILL (out of memory, or a kill -9)"),
        (signal.SIGSEGV | 0x80, "was killed by SIGSEGV (native code crashed)"),
        (40, "was killed by signal 40"),
    ],
)
def test_an_end_is_explained_in_words(status: int, sentence: str) -> None:
    assert explain(status) == sentence
