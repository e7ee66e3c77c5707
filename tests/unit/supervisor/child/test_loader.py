"""From names to apps: what is found, and the sentence where nothing is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytask_core import PyTask
from pytask_supervisor.child.loader import LoadError, load_app
from pytask_supervisor.config.options import SupervisorConfig

HEAD = "from pytask_core import PyTask, Task, Monitor\n"
TASK = "class Hi(Task):\n    NAME = 'hi'\n    def start(self): pass\n"


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """What a test imports from its own folder is forgotten after it."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("shop"):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, code: str, name: str = "shop.py") -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(code)


def load(folder: Path, **options: Any) -> tuple[PyTask, list[str]]:
    given = frozenset(options)
    return load_app(SupervisorConfig(**{"workers": 1, **options}, given=given), str(folder))


def sentence(folder: Path, **options: Any) -> str:
    with pytest.raises(LoadError) as caught:
        load(folder, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["shop:app", "shop:make", "shop:Box.app"])
def test_an_app_is_found_by_module_and_attribute(folder: Path, name: str) -> None:
    write(folder, HEAD + "app = PyTask()\ndef make():\n    return app\nclass Box:\n    app = app\n")
    app, warnings = load(folder, app=name)
    assert app is sys.modules["shop"].app
    assert warnings == []


def test_the_folder_is_first_on_the_path_for_what_the_app_imports(folder: Path) -> None:
    write(folder, HEAD + TASK, "shop_tasks.py")
    write(folder, HEAD + "from shop_tasks import Hi\napp = PyTask()\napp.add_task(Hi)\n")
    app, _ = load(folder, app="shop:app")
    assert list(app.task_classes) == ["hi"]
    assert sys.path[0] == str(folder)


def test_the_concurrency_flag_beats_the_apps(folder: Path) -> None:
    write(folder, HEAD + "app = PyTask(concurrency=5)\n")
    assert load(folder, app="shop:app")[0].concurrency == 5
    assert load(folder, app="shop:app", concurrency=0)[0].concurrency == 0


def test_an_app_that_names_its_own_redis_wins_with_a_warning(folder: Path) -> None:
    write(folder, HEAD + "app = PyTask('redis://own')\n")
    _, warnings = load(folder, app="shop:app", redis="redis://other")
    assert warnings == ["--redis is not used: shop:app names its own Redis"]


def test_options_for_tasks_mode_are_warned_of_with_an_app(folder: Path) -> None:
    write(folder, HEAD + "app = PyTask()\n")
    _, warnings = load(folder, app="shop:app", task_set="x", retention=1.0)
    assert warnings == ["--retention --task-set: not used, shop:app has its own settings"]


def test_tasks_mode_takes_every_named_task_and_adds_monitor_and_cleanup(folder: Path) -> None:
    write(folder, HEAD + TASK, "shop_tasks.py")
    write(folder, HEAD + "from shop_tasks import Hi\nclass A(Hi):\n    NAME = 'a'\nclass Base(Task):\n    pass\n")
    app, warnings = load(folder, tasks=("shop", "shop_tasks"))
    assert sorted(app.task_classes) == ["a", "hi", "pytask/cleanup", "pytask/monitor"]
    assert warnings == []


@pytest.mark.parametrize("timeout", [0.5, 60.0, 600.0])
def test_tasks_mode_hands_on_names_and_timeout(folder: Path, timeout: float) -> None:
    write(folder, HEAD + TASK)
    app, _ = load(folder, tasks=("shop",), task_set="x", new_queue="n", task_timeout=timeout, unknown_timeout=timeout)
    assert app.unknown_timeout == timeout
    assert app.task_timeout == timeout
    assert app.helpers.keys.task_set == "x"


def test_one_task_seen_twice_is_fine_and_two_of_one_name_are_not(folder: Path) -> None:
    write(folder, HEAD + TASK, "shop_a.py")
    write(folder, HEAD + TASK, "shop_b.py")
    assert "two tasks are named 'hi': shop_a.Hi and shop_b.Hi" in sentence(folder, tasks=("shop_a", "shop_b"))
    assert load(folder, tasks=("shop_a", "shop_a"))


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        ("", "nowhere:app", ["no module nowhere", "{folder}"]),
        ("", "shop.sub:app", ["no module shop.sub"]),
        ("app = PyTask()", "shop:ap", ["shop:ap", "no ap in shop", "did you mean app?"]),
        ("queue = PyTask()", "shop:app", ["no app in shop", "did you mean queue?"]),
        ("x = 1", "shop:zzz", ["no zzz in shop"]),
        ("app = 5", "shop:app", ["shop:app is an int", "needs a PyTask"]),
        ("app = None", "shop:app", ["shop:app is None"]),
        ("def app():\n    pass", "shop:app", ["shop:app() is None"]),
        ("class app(PyTask):\n    pass", "shop:app", ["shop:app is the class app"]),
        ("def app():\n    return 1 / 0", "shop:app", ["shop:app() failed at {folder}/shop.py:3", "ZeroDivisionError"]),
        ("def app(x):\n    pass", "shop:app", ["shop:app() failed", "missing 1 required"]),
        ("import nosuchthing", "shop:app", ["importing shop failed at {folder}/shop.py:2", "nosuchthing"]),
        ("from shop_b import x", "shop:app", ["shop_b"]),
        ("1 / 0", "shop:app", ["importing shop failed at {folder}/shop.py:2", "division by zero"]),
        ("raise SystemExit(5)", "shop:app", ["importing shop failed at {folder}/shop.py:2", "SystemExit: 5"]),
        ("app = (", "shop:app", ["{folder}/shop.py:2", "SyntaxError"]),
        ("raise ValueError('a\\nb')", "shop:app", ["ValueError: a b"]),
        ("app = PyTask(concurrency=-1)", "shop:app", ["shop.py:2", "concurrency"]),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence_that_names_it(
    folder: Path, code: str, name: str, words: list[str]
) -> None:
    write(folder, HEAD + code + "\n")
    text = sentence(folder, app=name)
    for word in words:
        assert word.format(folder=folder) in text


@pytest.mark.parametrize(("seconds", "count"), [(29.0, 0), (30.0, 1), (90.0, 1)])
def test_a_hang_timeout_beyond_the_time_after_which_tasks_are_given_away_is_warned_of(
    folder: Path, seconds: float, count: int
) -> None:
    write(folder, HEAD + "app = PyTask(task_timeout=30)\n")
    _, warnings = load(folder, app="shop:app", hang_timeout=seconds)
    assert sum("is not below the app's task_timeout 30" in warning for warning in warnings) == count
    # The default of 30 is nobody's wish.
    assert load(folder, app="shop:app")[1] == []


def test_the_traceback_is_kept_for_the_debug_log(folder: Path) -> None:
    write(folder, "1 / 0\n")
    with pytest.raises(LoadError) as caught:
        load(folder, app="shop:app")
    assert "Traceback" in caught.value.detail
    assert "1 / 0" in caught.value.detail


def test_modules_without_tasks_are_named(folder: Path) -> None:
    write(folder, HEAD)
    # Monitor is a task with a name, so a module that imports it has one.
    assert load(folder, tasks=("shop",))
    write(folder, "x = 1\n", "shop_b.py")
    assert "module shop_b has no task" in sentence(folder, tasks=("shop_b",))
