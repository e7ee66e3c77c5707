"""Options of ``pytask-supervisor``: who beats whom, and what a mistake is told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pytask_core import PyTask
from pytask_core.errors import PyTaskException
from pytask_core.helpers import PyTaskHelpers
from pytask_core.keys import RedisKeys
from pytask_supervisor.config import types
from pytask_supervisor.config.options import Option, SupervisorConfig, options
from pytask_supervisor.config.settings import ConfigError, load_config

#: For each kind of value, one that is no option's default: text as a flag or variable has it.
EXAMPLES = {
    types.workers: "3",
    types.app: "shop.tasks:app",
    types.modules: "shop.tasks,mail",
    types.count: "7",
    types.redis_url: "redis://elsewhere",
    types.seconds: "1.5",
    types.some_seconds: "20",
    types.hang_seconds: "0",
    types.size: "1.5G",
    types.text: "x-text",
    types.key_name: "{x}-name",
    types.log_level: "debug",
    types.log_format: "json",
    types.umask: "027",
    types.switch: "true",
    types.socket_path: "/run/x.sock",
    types.port: "9100",
}
IN_FILE = [option for option in options() if option.in_file]


def load(
    folder: Path, argv: Sequence[str] = (), environ: Mapping[str, str] | None = None, toml: str = ""
) -> SupervisorConfig:
    if toml:
        (folder / "pyproject.toml").write_text(f"[tool.pytask-supervisor]\n{toml}\n")
    return load_config(argv, environ or {}, folder)


def mistake(folder: Path, *argv: str, toml: str = "", **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, argv, environ, toml)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_every_kind_of_option_has_an_example_that_is_not_its_default() -> None:
    for option in options():
        assert option.read in EXAMPLES, f"{option.flag} is of a new kind; give EXAMPLES a value of it"
        assert option.read(EXAMPLES[option.read]) != option.default
    assert {option.name for option in options()} - {option.name for option in IN_FILE} == {"chdir"}


@pytest.mark.parametrize("option", IN_FILE, ids=lambda option: option.name)
def test_an_option_can_be_set_by_flag_variable_and_file(tmp_path: Path, option: Option) -> None:
    text = EXAMPLES[option.read]
    app = {} if option.name in ("app", "tasks") else {"PYTASK_APP": "a:b"}

    by_flag = load(tmp_path, [option.flag] if option.is_switch else [option.flag, text], app)
    by_variable = load(tmp_path, environ={**app, option.environment: text})
    with_dashes = load(tmp_path, environ=app, toml=f"{option.key} = '{text}'")
    with_underscores = load(tmp_path, environ=app, toml=f"{option.name} = '{text}'")

    found = [getattr(c, option.name) for c in (by_flag, by_variable, with_dashes, with_underscores)]
    assert found == [option.read(text)] * 4
    assert all(option.name in c.given for c in (by_flag, by_variable, with_dashes))


@pytest.mark.parametrize("option", IN_FILE, ids=lambda option: option.name)
def test_a_flag_beats_a_variable_and_a_variable_beats_the_file(tmp_path: Path, option: Option) -> None:
    """What is beaten is not even looked at, so it may be a mistake."""
    text, wrong = EXAMPLES[option.read], "\0"
    app = {} if option.name in ("app", "tasks") else {"PYTASK_APP": "a:b"}
    words = [option.flag] if option.is_switch else [option.flag, text]
    toml = f'{option.key} = "\\u0000"'
    for argv, environ in ((words, {option.environment: wrong}), ([], {option.environment: text})):
        assert getattr(load(tmp_path, argv, {**app, **environ}, toml), option.name) == option.read(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("2k", 2048),
        ("512M", 512 * 1024**2),
        ("512MiB", 512 * 1024**2),
        ("0.5 G", 512 * 1024**2),
    ],
)
def test_a_size_is_a_number_with_a_unit(tmp_path: Path, text: str, size: int) -> None:
    assert load(tmp_path, ["--app", "a:b", "--max-memory", text]).max_memory == size


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    environ = {"PYTASK_APP": "a:b"}
    assert load(tmp_path, environ=environ).graceful_timeout == 30
    assert load(tmp_path, environ=environ, toml="graceful-timeout = 1").graceful_timeout == 1
    environ["PYTASK_GRACEFUL_TIMEOUT"] = "2"
    assert load(tmp_path, environ=environ).graceful_timeout == 2
    assert load(tmp_path, ["--graceful-timeout", "3"], environ).graceful_timeout == 3


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    config = load(tmp_path, environ={"PYTASK_APP": "a:b", "PYTASK_WORKERS": ""}, toml="workers = 5")
    assert config.workers == 5


def test_redis_is_read_from_pytask_redis_url(tmp_path: Path) -> None:
    config = load(tmp_path, environ={"PYTASK_APP": "a:b", "PYTASK_REDIS_URL": "unix:///x.sock"})
    assert config.redis == "unix:///x.sock"
    assert not config.is_embedded


@pytest.mark.parametrize(("url", "folder"), [("embedded", None), ("embedded:/var/x", "/var/x")])
def test_embedded_may_name_a_folder(tmp_path: Path, url: str, folder: str | None) -> None:
    config = load(tmp_path, ["--app", "a:b", "--redis", url])
    assert config.is_embedded
    assert config.embedded_dir == folder


def test_tasks_take_commas_and_several_words(tmp_path: Path) -> None:
    config = load(tmp_path, ["--tasks", "a,b", "c.d", "--tasks", "e", "a"])
    assert config.tasks == ("a", "b", "c.d", "e")
    assert load(tmp_path, toml='tasks = ["a", "b"]').tasks == ("a", "b")


def test_the_source_that_speaks_first_decides_between_app_and_tasks(tmp_path: Path) -> None:
    config = load(tmp_path, ["--tasks", "jobs"], {"PYTASK_APP": "a:b"}, "app = 'c:d'")
    assert (config.app, config.tasks) == (None, ("jobs",))
    config = load(tmp_path, environ={"PYTASK_APP": "a:b"}, toml="tasks = 'jobs'")
    assert (config.app, config.tasks) == ("a:b", ())


def test_app_and_tasks_in_one_source_exclude_each_other(tmp_path: Path) -> None:
    assert "--app and --tasks cannot be used together" in mistake(tmp_path, "--app", "a:b", "--tasks", "c")


def test_without_an_app_a_sentence_tells_how_to_name_one(tmp_path: Path) -> None:
    text = mistake(tmp_path, "--workers", "4")
    assert all(word in text for word in ("--app", "--tasks", "PYTASK_APP", "pyproject.toml"))


def test_chdir_is_where_the_file_is_looked_for(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "pyproject.toml").write_text("[tool.pytask-supervisor]\napp = 'a:b'")
    assert load(tmp_path, ["--chdir", "there"]).app == "a:b"
    assert load(tmp_path, environ={"PYTASK_CHDIR": str(there)}).app == "a:b"
    assert "no folder" in mistake(tmp_path, "--chdir", "nowhere")


def test_other_tables_of_the_file_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname='x'\n[tool.other]\nworkers = 'no'")
    assert load(tmp_path, ["--app", "a:b"]).app == "a:b"


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("worker = 4", ["worker in", "pyproject.toml", "did you mean workers?"]),
        ("colour = 'red'", ["colour in", "is not an option"]),
        ("workers = 'x'", ["workers in", "from 1 to 1000", "'x'"]),
        ("workers = true", ["workers in", "True"]),
        ("workers = 2.5", ["workers in", "2.5"]),
        ("metrics-port = 65536", ["metrics-port in", "from 0 to 65535", "65536"]),
        ("metrics-port = -1", ["metrics-port in", "from 0 to 65535"]),
        ("control-socket = 'control.sock'", ["control-socket in", "begins with / or .", "control.sock"]),
        ("control-socket = ''", ["control-socket in", "begins with / or ."]),
        ("graceful-timeout = true", ["graceful-timeout in", "seconds"]),
        ("graceful-timeout = nan", ["graceful-timeout in", "seconds"]),
        ("graceful-timeout = 1\ngraceful_timeout = 2", ["twice"]),
        ("chdir = '/tmp'", ["chdir in", "is not allowed"]),
        ("tasks = [1]", ["tasks in", "modules"]),
        ("tasks = []", ["tasks in", "modules"]),
        ("app = ['a:b']", ["app in", "text"]),
        ("task-set = ''", ["task-set in", "not empty"]),
        ("workers = = 4", ["not valid TOML", "line 2"]),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_the_key(tmp_path: Path, toml: str, words: list[str]) -> None:
    environ = {} if toml.startswith(("app", "tasks")) else {"PYTASK_APP": "a:b"}
    text = mistake(tmp_path, toml=toml, **environ)
    assert all(word in text for word in words), text


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\npytask-supervisor = 4")
    assert "must be a table" in mistake(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe\x00")
    assert "not valid TOML" in mistake(tmp_path)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--workers", "0"], ["--workers", "from 1 to 1000"]),
        (["--workers", "-1"], ["--workers"]),
        (["--workers", "1_0"], ["--workers"]),
        (["--workers"], ["--workers", "expected one argument"]),
        (["--wor", "4"], ["--wor"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["stray"], ["stray"]),
        (["--graceful-timeout", "-1"], ["--graceful-timeout", "0 or more"]),
        (["--graceful-timeout", "inf"], ["--graceful-timeout"]),
        (["--max-memory", "much"], ["--max-memory", "512M"]),
        (["--max-memory", "nan"], ["--max-memory", "512M"]),
        (["--hang-timeout", "1.9"], ["--hang-timeout", "0, or at least 2 seconds"]),
        (["--task-timeout", "0"], ["--task-timeout", "above 0"]),
        (["--concurrency", "many"], ["--concurrency", "'many'"]),
        (["--log-level", "loud"], ["--log-level", "debug info warning error"]),
        (["--redis", "localhost:6379"], ["--redis", "redis://"]),
        (["--redis", "redis://"], ["--redis"]),
        (["--redis", "redis://127.0.0.1:abc"], ["--redis", "HOST or HOST:PORT"]),
        (["--redis", "redis://127.0.0.1:65536"], ["--redis", "a port up to 65535"]),
        (["--redis", "redis://a:1,b:2"], ["--redis", "the server"]),
        (["--redis", "redis+cluster://a:1,b"], ["--redis", "server 2 as HOST:PORT"]),
        (["--redis", "redis+sentinel://h:1"], ["--redis", "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"]),
        (["--redis", "rediss+sentinel://h:1/?db=3"], ["--redis", "the name of the service"]),
        (["--app", "module"], ["--app", "module:attribute"]),
        (["--app", "a:b:c"], ["--app"]),
        (["--tasks", "my-tasks"], ["--tasks"]),
    ],
)
def test_a_wrong_flag_is_one_line_that_names_it(tmp_path: Path, argv: list[str], words: list[str]) -> None:
    text = mistake(tmp_path, *argv, PYTASK_APP="a:b")
    assert all(word in text for word in words), text


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    text = mistake(tmp_path, PYTASK_APP="a:b", PYTASK_CONCURRENCY="x")
    assert text.startswith("PYTASK_CONCURRENCY must be")


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://me:p%40ss@[::1]:6379/3?socket_timeout=2",
        "redis://:6379",
        "rediss://db?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock?db=1",
        "unix://me:secret@/run/redis.sock",
        "redis+cluster://a:1,b:2",
        "rediss+cluster://:secret@[fe80::1]:1/0",
        "redis+sentinel://a,b:1/main",
        "redis+sentinel://me:secret@a:1/main/2?sentinel_password=x",
    ],
)
def test_every_form_of_url_that_the_core_reads_is_taken(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, ["--app", "a:b", "--redis", url]).redis == url


@pytest.mark.parametrize("url", ["redis://:hun\nter2@h:1", "redis://:hunter2\x1b@h", "embedded:/x\r/hunter2"])
def test_a_url_with_a_line_break_or_control_character_is_refused_by_supervisor_and_core(
    tmp_path: Path, url: str
) -> None:
    """urllib leaves the break out, so that another password was sent; the log broke the line behind half of it."""
    assert "control character" in mistake(tmp_path, "--app", "a:b", "--redis", url)
    assert "hunter2" not in mistake(tmp_path, "--app", "a:b", "--redis", url)
    for make in (PyTask, PyTaskHelpers):
        with pytest.raises(PyTaskException, match="control character") as told:
            make(url)
        assert "ter2" not in str(told.value)


def test_an_option_of_a_url_that_may_be_a_piece_of_its_password_is_not_named() -> None:
    with pytest.raises(PyTaskException, match="write & as %26") as told:
        PyTask("redis://h?password=a&hunter2=1")
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    "names",
    [
        {"new_queue": "tasks"},
        {"end_queue": "new-task"},
        {"task_prefix": "ta"},
        {"task_set": "{a}tasks", "task_prefix": "{a}"},
        {"task_set": "a}b"},
        {"end_queue": "{a}{b}"},
        {"new_queue": "{a}new"},
        {"task_set": "x", "new_queue": "tasks"},
    ],
)
def test_names_are_refused_that_the_core_refuses(tmp_path: Path, names: dict[str, str]) -> None:
    argv = [word for name, value in names.items() for word in ("--" + name.replace("_", "-"), value)]
    try:
        RedisKeys(**names)
    except ValueError:
        assert next(iter(names)).replace("_", "-") in mistake(tmp_path, "--tasks", "a", *argv)
    else:
        load(tmp_path, ["--tasks", "a", *argv])


def test_names_of_which_nobody_makes_use_may_clash(tmp_path: Path) -> None:
    load(tmp_path, ["--app", "a:b", "--new-queue", "tasks"])


@pytest.mark.parametrize(
    "argv",
    [
        ["--redis", "http://:hunter2@host"],
        ["--redis", ":hunter2@host"],
        ["--redis", "redis://:hunter2/x@host"],
        ["--redis", "redis+sentinel://:hunter2@host:1"],
        ["--reds", "redis://:hunter2@host"],
        ["--app", "redis://:hunter2@host"],
    ],
)
def test_a_password_is_never_part_of_the_answer(tmp_path: Path, argv: list[str]) -> None:
    assert "hunter2" not in mistake(tmp_path, *argv, PYTASK_APP="a:b")


def test_workers_auto_is_at_least_one(tmp_path: Path) -> None:
    config = load(tmp_path, ["--app", "a:b", "--workers", "auto"])
    assert 1 <= config.workers <= (os.cpu_count() or 1)
    assert load(tmp_path, ["--app", "a:b"]).workers == config.workers


def test_a_list_of_modules_is_stripped_and_kept_in_order() -> None:
    assert types.modules(" b , a ,, b") == ("b", "a")
