"""``--check-config`` and ``--print-config`` as commands: exit codes, and that nothing runs after them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.processes.supervisor_process import ROOT


def ask(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """No Redis anywhere near: a question needs none."""
    return subprocess.run(
        [sys.executable, "-m", "pytask_supervisor", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_good_configuration_is_ok_and_exit_code_0(folder: Path) -> None:
    done = ask(folder, "--check-config", "--app", "jobs:app")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "OK: jobs:app can be loaded, and every option makes sense\n"


def test_mistakes_are_exit_code_2(folder: Path) -> None:
    done = ask(folder, "--check-config", "--app", "jobs", "--workers", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("pytask-supervisor: --") == done.stderr.count("\n") == 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 11)", "was killed by SIGSEGV"),
        ("import os; os._exit(0)", "left by itself"),
        ("app = 7", "is an int"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_exit_code_3(folder: Path, code: str, words: str) -> None:
    (folder / "app.py").write_text(code)
    done = ask(folder, "--check-config", "--app", "app:app")
    assert done.returncode == 3, done
    assert words in done.stderr
    assert done.stdout == ""


def test_print_config_is_toml_on_stdout(folder: Path) -> None:
    done = ask(folder, "--print-config", "--app", "jobs:app", "--concurrency", "5")
    assert done.returncode == 0
    table = tomllib.loads(done.stdout)["tool"]["pytask-supervisor"]
    assert table["app"] == "jobs:app"
    assert table["concurrency"] == 5


def test_one_cannot_ask_both(folder: Path) -> None:
    done = ask(folder, "--print-config", "--check-config", "--app", "jobs:app")
    assert done.returncode == 2
    assert "not allowed with" in done.stderr
