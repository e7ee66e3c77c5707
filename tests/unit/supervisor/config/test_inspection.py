"""``--check-config`` and ``--print-config``: what holds, where it is from, and everything that is wrong."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pytask_supervisor.config.inspection import answer, as_toml
from pytask_supervisor.config.options import options
from pytask_supervisor.config.settings import TABLE, ConfigError, Settings, load_settings
from pytask_supervisor.shared.exits import Exit


def settings(folder: Path, *argv: str, toml: str = "", **environ: str) -> Settings:
    (folder / "pyproject.toml").write_text(f"[tool.{TABLE}]\n{toml}\n")
    return load_settings(argv, environ, folder)


def test_each_value_is_shown_with_where_it_is_from(tmp_path: Path) -> None:
    text = as_toml(
        settings(tmp_path, "--workers", "3", toml="app = 'a:b'", PYTASK_UMASK="027", PYTASK_CHDIR=str(tmp_path))
    )
    assert "workers = 3  # --workers\n" in text
    assert 'umask = "027"  # PYTASK_UMASK\n' in text
    assert f'app = "a:b"  # app in {tmp_path}/pyproject.toml\n' in text
    assert "graceful-timeout = 30.0  # default\n" in text
    assert "# pidfile is not set\n" in text
    assert f'# chdir = "{tmp_path}"  # PYTASK_CHDIR; not allowed in a file\n' in text
    for option in options():
        assert option.key in text


def test_what_is_shown_is_a_file_that_says_the_same(tmp_path: Path) -> None:
    first = settings(
        tmp_path, "--workers", "auto", "--tasks", "a", "b", "--task-set", 'odd " \\ ✓ \x7f', "--graceful-timeout", "0.5"
    )
    (tmp_path / "pyproject.toml").write_text(as_toml(first))
    second = load_settings([], {}, tmp_path)
    assert second.mistakes == ()
    assert second.values == first.values
    assert 'workers = "auto"' in as_toml(second)


def test_auto_is_explained_only_where_it_is_something_else_here(tmp_path: Path) -> None:
    text = as_toml(settings(tmp_path, "--app", "a:b", PYTASK_WORKERS="auto"))
    assert re.search(r'^workers = "auto"  # PYTASK_WORKERS; \d+ here$', text, re.MULTILINE)
    assert 'control-socket = "auto"  # default\n' in text


def test_what_is_misspelt_is_told_without_being_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytask_supervisor]\napp = 'a:b'\n[tool.pytask]\npaths = 'src'\n")
    environ = {"PYTASK_WORKER": "3", "PYTASK_REDIS": "x", "PYTASK_DATABASE_URL": "y", "PYTASK_TASK": "", "PYTASKS": "z"}
    found = load_settings(["--app", "a:b", "--print-config"], environ, tmp_path)
    assert found.mistakes == ()
    assert answer(found, lambda _config: pytest.fail("it was loaded")) is Exit.OK
    file = tmp_path / "pyproject.toml"
    assert capsys.readouterr().err.splitlines() == [
        "pytask-supervisor: PYTASK_WORKER is not read; did you mean PYTASK_WORKERS?",
        "pytask-supervisor: PYTASK_REDIS is not read; did you mean PYTASK_REDIS_URL?",
        f"pytask-supervisor: [tool.pytask_supervisor] in {file} is not read; did you mean [tool.pytask-supervisor]?",
    ]


def test_passwords_are_left_out_and_the_rest_is_still_toml(tmp_path: Path) -> None:
    text = as_toml(settings(tmp_path, "--app", "a:b", PYTASK_REDIS_URL="redis://me:hunter2@db:1/0?password=hunter2"))
    assert "hunter2" not in text
    shown = tomllib.loads(text)["tool"][TABLE]["redis"]
    assert shown == "redis://me:***@db:1/0?password=***"
    assert "# PYTASK_REDIS_URL; the password is left out" in text


@pytest.mark.parametrize("password", ["S3'CRET", '1,S3"CRET', "S3 CRET", "1/S3CRET"])
def test_a_password_of_any_shape_is_left_out(tmp_path: Path, password: str) -> None:
    for url in (f"redis://:{password}@h:1", f"redis://h:1/0?password={password}"):
        try:
            text = as_toml(settings(tmp_path, "--app", "a:b", "--redis", url))
        except ConfigError as error:
            text = str(error)
        assert "S3" not in text
        assert "CRET" not in text


def test_every_mistake_is_told_and_nothing_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = settings(tmp_path, "--workers", "x", toml="colour = 'red'\numask = 27", PYTASK_RETENTION="-1")
    found = load_settings(["--check-config", "--workers", "x"], {"PYTASK_RETENTION": "-1"}, tmp_path)
    assert answer(found, lambda _config: pytest.fail("it was loaded")) is Exit.USAGE
    told = capsys.readouterr().err.splitlines()
    assert all(line.startswith("pytask-supervisor: ") for line in told)
    for words in ("--workers must be", "PYTASK_RETENTION must be", "colour in", "umask in", "no app is named"):
        assert sum(words in line for line in told) == 1, words
    assert len(told) == 5
