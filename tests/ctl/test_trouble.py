"""A server that is not there or not for us, a reader that leaves, a person at a terminal."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytask_supervisor.ctl import main
from tests.ctl.conftest import Ctl, run_ctl
from tests.support.processes.ctl_process import CtlProcess
from tests.support.processes.guardian import Guardian
from tests.support.processes.supervisor_process import title
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.servers.redis_server import RedisServer, free_port
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="pyt-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


#: Run "show é" in place of the process that says this.
REPLACE = (
    "import sys; os.execv(sys.executable, [sys.executable, '-c',"
    "'from pytask_supervisor.ctl import run; run()', 'show', 'é'])"
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


ANY_VERB = [
    ["start", "hello"],
    ["start", "hello", "--wait"],
    ["stop", "x"],
    ["list"],
    ["show", "x"],
    ["events"],
    ["queues"],
]


@pytest.mark.parametrize("verb", ANY_VERB)
def test_a_server_that_is_not_there_is_one_sentence_without_the_password(verb: list[str]) -> None:
    url = f"redis://user:geheim@127.0.0.1:{free_port()}/0"
    done = run_ctl("--redis", url, *verb)
    assert done.code == 1
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert "refused" in done.err
    assert "127.0.0.1" in done.err
    assert "geheim" not in done.err


@pytest.mark.parametrize("verb", ANY_VERB)
def test_a_wrong_password_is_one_sentence_without_it(verb: list[str]) -> None:
    with RedisServer(tcp=True, requirepass="right") as server:
        done = run_ctl("--redis", server.url.replace("right", "geheim"), *verb)
        assert done.code == 1
        assert len(done.err.splitlines()) == 1
        assert "password" in done.err.lower()
        assert "geheim" not in done.err
        assert run_ctl("--redis", server.url, "queues").code == 0


@pytest.mark.parametrize("form", ["redis://:{}@127.0.0.1:{}/0", "redis://127.0.0.1:{1}/0?password={0}"])
@pytest.mark.parametrize("password", ["ge'heim", '1,ge"heim', "ge heim"])
def test_a_password_of_any_shape_is_in_no_error_and_the_reason_is(form: str, password: str) -> None:
    done = run_ctl("--redis", form.format(password, free_port()), "queues")
    assert done.code == 1
    assert "heim" not in done.err
    assert "redis://" in done.err
    assert "refused" in done.err


@pytest.mark.parametrize("flag", [["--redis", "{}"], ["--redis={}"]], ids=["two words", "one word"])
@pytest.mark.parametrize("password", ["geheim", "ge'heim", '1,ge"heim'])
def test_nobody_reads_the_password_off_the_list_of_processes(flag: list[str], password: str) -> None:
    with RedisServer(tcp=True, requirepass=password) as server:
        words = [word.format(f"redis://:{password}@127.0.0.1:{server.port}") for word in flag]
        with CtlProcess("", *words, "events") as ctl:
            wait_until(lambda: "events" in title(ctl.process.pid) and "heim" not in title(ctl.process.pid))
            wait_until(lambda: any(row["psub"] == "1" for row in server.other_clients()))
            ctl.ctrl_c()
            assert ctl.wait() == 0


@pytest.mark.parametrize("verb", [["list"], ["start", "hello"]])
def test_a_node_of_a_cluster_named_like_a_single_server_is_one_sentence(verb: list[str]) -> None:
    with ServerCluster() as cluster:
        done = run_ctl("--redis", cluster.url.replace("+cluster", "").partition(",")[0], *verb)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "is a node of a cluster: name it as redis+cluster://" in done.err


@pytest.mark.parametrize(
    "url", ["http://x", "redis+cluster://127.0.0.1:1/3", "nonsense", "redis://host:port", "redis://h:99999999"]
)
def test_a_url_that_is_none_is_one_sentence(url: str) -> None:
    done = run_ctl("--redis", url, "queues")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1


def test_an_embedded_server_is_found_but_never_started(folder: Path) -> None:
    done = run_ctl("--redis", f"embedded:{folder}", "queues")
    assert done.code == 1
    assert f"{folder}/valkey.sock" in done.err
    assert "pytask-supervisor --redis embedded" in done.err
    assert not list(folder.iterdir())
    with Guardian(folder) as guardian:
        guardian.report()
        assert run_ctl("--redis", f"embedded:{folder}", "queues", "--json").json["new"] == 0


def test_an_embedded_folder_too_long_for_a_socket_is_a_sentence() -> None:
    done = run_ctl("--redis", f"embedded:/tmp/{'x' * 120}", "queues")
    assert done.code == 1
    assert "a unix socket's path at most" in done.err


def test_a_reader_that_leaves_is_no_error(redis_server: RedisServer) -> None:
    client = redis_server.client()
    for number in range(5000):
        client.hset(f"task-{number}", "task", "a-name-that-fills-the-pipe" * 4)
    client.lpush("new-task", *range(5000))
    with CtlProcess(redis_server.url, "list") as listing:
        assert listing.out.readline()
        listing.out.close()
        assert listing.wait() == 0
        assert listing.err.read() == ""


def test_a_reader_that_left_before_the_only_line_is_no_error(redis_server: RedisServer) -> None:
    with CtlProcess(redis_server.url, "queues", "--json") as process:
        process.out.close()
        assert process.wait() == 0
        assert process.err.read() == ""


def test_a_closed_stdout_and_an_encoding_of_ascii_are_no_error(redis_server: RedisServer) -> None:
    redis_server.client().hset("task-é", "task", "t")
    with CtlProcess(redis_server.url, program=f"import os; os.close(1); {REPLACE}") as process:
        assert process.wait() == 0
        assert process.err.read() == ""
    ascii_only = f"import os; os.environ['PYTHONIOENCODING'] = 'ascii'; {REPLACE}"
    with CtlProcess(redis_server.url, program=ascii_only) as process:
        assert process.wait() == 0
        assert "\\xe9" in process.out.read()


def test_people_get_tables_and_programs_plain_lines(ctl: Ctl, redis_server: RedisServer) -> None:
    ctl("start", "hello", "--id", "[red]x[/red]\x1b[31m")
    for verb in (["list"], ["queues"], ["show", "[red]x[/red]\x1b[31m"]):
        terminal, err = Terminal(), io.StringIO()
        environ = {"PYTASK_REDIS_URL": redis_server.url}
        assert main(verb, environ, terminal, err) == 0
        assert "─" in terminal.getvalue()
        assert "\x1b[31m" not in terminal.getvalue()
        assert "─" not in ctl(*verb).out
    assert "[red]x[/red]" in terminal.getvalue()


def test_rich_is_loaded_for_tables_only(redis_server: RedisServer) -> None:
    program = (
        "import os, sys; from pytask_supervisor.ctl import main;"
        "main(['list'], os.environ, sys.stdout, sys.stderr); print('rich' in sys.modules)"
    )
    with CtlProcess(redis_server.url, program=program) as process:
        assert process.out.read() == "False\n"


def test_a_mistake_is_told_before_redis_is_loaded() -> None:
    program = (
        "import os, sys; from pytask_supervisor.ctl import main;"
        "main(['nonsense'], os.environ, sys.stdout, sys.stderr); print('redis' in sys.modules)"
    )
    with CtlProcess(os.devnull, program=program) as process:
        assert process.out.read() == "False\n"


@pytest.mark.parametrize("verb", ["stop", "restart", "reload", "remove"])
def test_a_user_without_channels_has_commands_recorded_and_is_told_which_right_is_missing(verb: str) -> None:
    with RedisServer(tcp=True) as server:
        admin = server.client(decode_responses=True)
        admin.execute_command("ACL", "SETUSER", "u", "on", ">secret", "~*", "resetchannels", "+@all", "-@dangerous")
        admin.hset("task-x", mapping={"task": "hello", "state": "RUNNING", "owner": "w:1"})
        admin.sadd("tasks", "x")
        done = run_ctl("--redis", f"redis://u:secret@127.0.0.1:{server.port}", verb, "x")
        assert done.code == 0
        assert "recorded, but workers cannot be told at once; they find it at their next renewal" in done.err
        assert "give its user the right &*" in done.err
        if verb == "remove":
            assert not admin.exists("task-x")
        else:
            assert admin.hget("task-x", "command") == verb
