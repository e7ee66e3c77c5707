"""The documentation names what there is: keys, fields, options, exit codes, signals, commands; its code compiles."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import docutils.core
import pytest

import pytask_core
from pytask_core import Cleanup, Monitor, PyTask, PyTaskHelpers, Task, TaskState
from pytask_core.keys import RedisKeys
from pytask_core.worker.stats import BOUNDS, WorkerStats
from pytask_supervisor.admin.prometheus import STAGES, Exposition
from pytask_supervisor.config.options import TASKS_ONLY, options
from pytask_supervisor.ctl.arguments import KEY_FLAGS
from pytask_supervisor.ctl.verbs import __file__ as verbs_file
from pytask_supervisor.master.commands import SlotReport
from pytask_supervisor.master.death_log import Kind
from pytask_supervisor.master.stats import STATES as TASK_STATES
from pytask_supervisor.master.stats import MasterStats
from pytask_supervisor.shared.exits import Exit
from pytask_supervisor.shared.signals import HANDLED
from tests.support.pages import flow_pictures, room_table
from tests.support.pages.option_table import written

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.rst"), *ROOT.glob("docs/*.rst")])


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def words(text: str) -> set[str]:
    """What stands between double backquotes."""
    return set(re.findall(r"``([^`]+)``", text))


def blocks(text: str, language: str) -> Iterator[str]:
    """The code blocks of a page."""
    for found in re.finditer(rf"^\.\. code:: {language}\n\n((?:    .*\n|\n)+)", text + "\n", re.MULTILINE):
        yield textwrap.dedent(found[1])


def public(thing: type) -> list[str]:
    return [name for name in vars(thing) if not name.startswith("_")]


def arguments(thing: type) -> list[str]:
    return [name for name in inspect.signature(thing.__init__).parameters if name != "self"]


def all_keys() -> Iterator[str]:
    """Every key and channel that ``keys.py`` can name, as the page writes it."""
    keys = RedisKeys()
    for name, member in inspect.getmembers(RedisKeys):
        if name.startswith(("_", "id_of_")) or name.endswith(("_prefix", "_pattern")):
            continue
        if callable(member):
            words = {"worker": "WORKER", "name": "NAME"}
            yield getattr(keys, name)(
                *(words.get(each, "ID") for each in list(inspect.signature(member).parameters)[1:])
            )
        elif isinstance(value := getattr(keys, name), str):
            yield value


def fields() -> set[str]:
    """Every field of a hash that a script reads or writes."""
    found: set[str] = set()
    for script in (ROOT / "pytask_core" / "store" / "lua").rglob("*.lua"):
        code = re.sub(r"--.*", "", script.read_text())
        for call in re.findall(r"(?:'(?:HSET|HDEL|HMGET|HGET|HINCRBY)'|\bfields\()([^)]*)", code):
            found |= set(re.findall(r"'([a-z_]+)'", call))
    return found - {value.lower() for value in TaskState} - {"true", "false", "stop", "restart", "reload"}


@pytest.mark.parametrize(
    "path", [*PAGES, *ROOT.glob("deploy/*.rst"), *ROOT.glob("tests/*/*.rst")], ids=lambda path: path.name
)
def test_every_page_can_be_shown_as_it_is_meant(path: Path) -> None:
    """A table of which one line is out of its columns is shown as an error, or not at all."""
    strict = {"report_level": 2, "halt_level": 2, "syntax_highlight": "none"}
    docutils.core.publish_doctree(path.read_text("utf-8"), source_path=str(path), settings_overrides=strict)


def test_every_key_stands_on_its_page() -> None:
    named = words(page("docs/redis_keys.rst"))
    keys = list(all_keys())
    assert len(keys) > 12
    assert [key for key in keys if key not in named] == []


def test_every_field_of_a_hash_stands_on_its_page() -> None:
    assert {"task", "data", "state", "last_update", "output", "cleanup", "local", "owner", "command"} <= fields()
    assert fields() - words(page("docs/redis_keys.rst")) == set()


def test_every_option_of_the_supervisor_stands_on_its_page() -> None:
    text = page("docs/supervisor.rst")
    for option in options():
        assert f"\n``{option.flag}``, ``{option.environment}``\n" in text
        if isinstance(option.default, int | float) and not option.is_switch:
            description = text.partition(f"\n``{option.flag}``, ")[2].partition("\n``")[0]
            assert option.name == "workers" or f"{option.default:g}" in description, option.name
    only_with_tasks = text.partition("\nOnly with ``--tasks``")[2]
    for name in TASKS_ONLY:
        assert f"``--{name.replace('_', '-')}``" in only_with_tasks


def test_the_table_of_options_is_that_of_the_declaration() -> None:
    assert page("docs/supervisor.rst") == written(), "write it again: python -m tests.support.pages.option_table"


def test_every_module_says_its_job_in_one_short_sentence() -> None:
    """The first of its docstring: it stands in the tables of docs/design.rst."""
    jobs = {str(path.relative_to(ROOT)): room_table.job(path) for path in room_table.sources()}
    assert len(jobs) > 100
    assert {path: job for path, job in jobs.items() if not 10 < len(job) <= 100} == {}


def test_every_room_that_the_design_names_exists() -> None:
    named = set(re.findall(r"``((?:[a-z_]+/)+[a-z_]+)``", page("docs/design.rst")))
    packages = [ROOT / "pytask_core", ROOT / "pytask_supervisor", ROOT]
    found = {
        name
        for name in named
        for package in packages
        if (package / name).is_dir() or (package / f"{name}.py").is_file()
    }
    assert len(named) > 10
    assert named - found == set()


def test_the_tables_of_rooms_are_those_of_the_layering_and_the_docstrings() -> None:
    assert page("docs/design.rst") == room_table.written(), "write it again: python -m tests.support.pages.room_table"


@pytest.mark.parametrize("name", flow_pictures.FLOWS)
def test_every_picture_of_a_flow_is_shown_as_it_is_drawn_and_names_rooms_that_exist(name: str) -> None:
    flow = flow_pictures.FLOWS[name]
    rooms = {path.relative_to(ROOT).with_suffix("").as_posix().partition("/")[2] for path in room_table.sources()}
    assert len(flow.rooms) > 8
    assert set(flow.rooms) - rooms == set(), "correct it in tests/support/pages/flow_pictures.py"
    for script in filter(None, (box.script for box in flow.boxes)):
        assert (ROOT / "pytask_core" / "store" / "lua" / script).is_file()
    assert page(f"docs/pictures/{name}") == flow_pictures.drawn(flow), (
        "draw it again: python -m tests.support.pages.flow_pictures"
    )
    assert f".. image:: pictures/{name}\n" in page("docs/design.rst")


@pytest.mark.parametrize("name", ["README.rst", "docs/supervisor.rst"])
def test_every_exit_code_and_signal_stands_in_the_tables(name: str) -> None:
    text = page(name)
    for code in Exit:
        assert re.search(rf"^{code:d}  +\S", text, re.MULTILINE), f"exit code {code}"
    named = set(re.findall(r"[A-Z0-9]+", " ".join(words(text))))
    assert {signum.name.removeprefix("SIG") for signum in HANDLED} - named == {"CHLD"}


def test_the_pages_on_the_api_name_all_that_is_public() -> None:
    text = page("docs/api.rst")
    named = set(re.findall(r"\w+", " ".join(words(re.sub(r"``([^`]*)\n([^`]*)``", r"``\1 \2``", text)))))
    for thing in (PyTask, PyTaskHelpers, Task):
        missing = {*public(thing), *arguments(thing)} - named - {"PyTaskError", "poison"}
        assert missing == set(), thing
    for thing in (Monitor, Cleanup):
        assert set(arguments(thing)) <= named, thing
    assert set(pytask_core.__all__) <= set(re.findall(r"\w+", text))


def test_the_pages_name_every_state_and_verb() -> None:
    for state in TaskState:
        assert re.search(rf"\b{state}\b", page("docs/fault_tolerance.rst"))
    verbs = re.findall(r'^    "(\w+)": ', Path(verbs_file).with_name("dispatch.py").read_text(), re.MULTILINE)
    assert len(verbs) == 9
    verbs += ["workers", "top"]
    for verb in verbs:
        assert re.search(rf"^``{verb}\b", page("docs/api.rst"), re.MULTILINE)
    assert set(KEY_FLAGS) <= words(page("docs/api.rst"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_code_compiles_and_links_and_commands_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    for block in blocks(text, "python"):
        compile(block, f"{path.name}", "exec")
    for target in re.findall(r"<([\w./]+)>`_", text):
        assert (path.parent / target).exists(), target
    targets = set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE))
    for command in re.findall(r"^    make ([a-z-]+)", text, re.MULTILINE):
        assert command in targets
    for example in re.findall(r"docs/examples/\w+\.py", text):
        assert (ROOT / example).is_file()
    for app in re.findall(r"--app (docs\.[\w.]+):app", text):
        assert (ROOT / (app.replace(".", "/") + ".py")).is_file()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_file_and_folder_of_ours_that_a_page_names_is_there(path: Path) -> None:
    named = re.findall(r"``((?:pytask_core|pytask_supervisor|tests|docs|deploy)/[\w./]+)``", path.read_text("utf-8"))
    assert [each for each in named if not (ROOT / each).exists()] == []


def test_every_test_that_a_page_names_is_there_and_names_its_fault() -> None:
    faults = page("tests/faults/README.rst")
    for text in (faults, *(path.read_text("utf-8") for path in PAGES)):
        for path, name in re.findall(r"``(tests/[\w/]+\.py)(?:::(\w+))?``", text):
            assert (ROOT / path).is_file(), path
            assert not name or f"\ndef {name}(" in page(path), f"{path}::{name}"
    entries = re.findall(r"^:(F\d+): (.*?)(?=^:F|\Z)", faults, re.MULTILINE | re.DOTALL)
    assert len(entries) > 18
    for number, entry in entries:
        files = re.findall(r"``(tests/[\w/]+\.py)", entry)
        assert any(f"{number}:" in page(path) for path in files), number


def test_the_readme_begins_with_the_two_commands() -> None:
    commands = re.findall(r"^    (\S.*)$", page("README.rst"), re.MULTILINE)
    assert [command.split("#")[0].strip() for command in commands[:2]] == ["make run", "make test"]


def test_the_words_of_make_run_are_those_of_the_hello_example() -> None:
    about = page("Makefile").partition("define about_run")[2].partition("endef")[0]
    commands = re.findall(r"pytaskctl --redis embedded (\w+)", about)
    assert commands == ["start", "list", "stop"]
    hello = page("docs/examples/hello.py")
    assert 'NAME = "hello"' in hello
    assert '"sample-clock"' in hello


def test_every_metric_its_labels_and_their_values_stand_on_the_page() -> None:
    text = page("docs/metrics.rst")
    rows = dict(re.findall(r"^``(pytask_\w+)`` +(\w+ .*)$", text, re.MULTILINE))
    figures = WorkerStats({"job"})
    figures.claimed("job", 1)
    figures.ended("job", "SUCCESS", 1)
    tally = MasterStats()
    tally.add({"cpu": 1, **figures.take()})
    tally.queues = {"new": 1, "active": 1, "end": 1}
    slot = SlotReport(1, 1, "ready", 1, 1, 1, 1, {"names": {"job": 1}, "lag": 1, "memory": 1, "rss": 1, "up": True})
    shown = SimpleNamespace(slot_reports=[slot], death_counts=dict.fromkeys(map(str, Kind), 1), is_quiet=False)
    found = set()
    for family in Exposition(shown, tally).collect():  # type: ignore[arg-type]
        name = family.name + "_total" * (family.type == "counter")
        found.add(name)
        kind, _, rest = rows[name].partition(" ")
        assert kind == family.type
        assert family.samples, f"{name} is never given"
        for sample in family.samples:
            for label in sample.labels.keys() - {"le"}:
                assert label in rest, (name, label)
    assert found == set(rows)
    assert {*STAGES, *map(str, Kind), *tally.queues, *TASK_STATES} <= words(text)
    told = re.search(r"bounds of the histograms are\s+([\d., \nand]+)\.\n", text)
    assert told is not None
    assert [float(bound) for bound in re.findall(r"[\d.]*\d", told[1])] == list(BOUNDS)
