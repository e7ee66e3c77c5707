"""What the server is sent of the Lua files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import RFC_4122, UUID

import pytest

import pytask_core.store.scripts
from pytask_core.ids import new_id
from pytask_core.keys import RedisKeys
from pytask_core.store.calls import Call, Calls
from pytask_core.store.scripts import WORDS, Header, load, named

PACKAGE = Path(pytask_core.store.scripts.__file__).parents[1]
FILES = Path(pytask_core.store.scripts.__file__).with_name("lua")
SHARED = {"prelude", "queue", "parking", "knowing", "poison", "lease", "placing", "leaving"}
DECISIONS = {f"decide/{file.stem}" for file in FILES.glob("decide/*.lua")}
PARTS = {*SHARED, *DECISIONS, "deadline"}
ALL = sorted(str(file.relative_to(FILES).with_suffix("")) for file in FILES.rglob("*.lua"))
SCRIPTS = [each for each in ALL if each not in PARTS]


def functions(text: str) -> list[str]:
    return re.findall(r"^local function (\w+)", text, re.MULTILINE)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_carries_the_shared_functions_that_it_names_whole_and_no_others(name: str) -> None:
    shared = "\n".join((FILES / f"{file}.lua").read_text("utf-8") for file in (*SHARED, *DECISIONS))
    sent = load(name).source

    for function in functions(shared):
        if function in functions(sent):
            assert len(re.findall(rf"\b{function}\b", sent)) > 1, f"{function} is made with each call for nothing"
        else:
            assert not re.search(rf"(?<![.:])\b{function}\(", sent), f"{function} is called and is not there"
    assert not re.search(r"^\s*--(?!!df)", sent, re.MULTILINE)


def literals(file: Path) -> set[str]:
    code = re.sub(r"--.*", "", file.read_text("utf-8"))
    return set(re.findall(r"'([^']*)'", code))


#: Values of the hash, names of its fields, and words of Redis, that some declared word looks like.
OTHERWISE = {"", "local", "requeued"}


@pytest.mark.parametrize("file", sorted(FILES.rglob("*.lua")), ids=lambda file: str(file.relative_to(FILES)))
def test_no_script_spells_a_word_that_is_declared(file: Path) -> None:
    declared = {str(word) for words in WORDS.values() for word in words}

    assert literals(file) & (declared - OTHERWISE) == set()


def test_no_room_of_python_compares_with_a_word_that_is_declared_but_by_its_name() -> None:
    declared = {str(word) for words in WORDS.values() for word in words} - {""}
    rooms = [*PACKAGE.glob("store/**/*.py"), *PACKAGE.glob("worker/*.py"), PACKAGE / "tasks.py"]

    found = {f"{room.name}: {word}" for room in rooms for word in compared(ast.parse(room.read_text("utf-8")))}

    assert {each for each in found if each.partition(": ")[2] in declared} == set()


def compared(tree: ast.AST) -> Iterator[str]:
    """All texts with which something is compared."""
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        for part in parts:
            for each in part.elts if isinstance(part, ast.Set | ast.Tuple | ast.List) else [part]:
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield each.value


@pytest.mark.parametrize("line", ["return State.WAITS", "return KEYS.tsak", "return ARGV.tokn", "return ARGV[EACH.di]"])
def test_a_name_that_is_not_declared_fails_before_anything_is_sent(line: str) -> None:
    with pytest.raises(ValueError, match="not declared"):
        named(f"{line}\n", Header(keys=["task"], args=["token"], each=["id"]))


def test_names_become_places_and_words_and_cost_the_server_nothing() -> None:
    header = Header(keys=["task_set", "task"], args=["token"], each=["id", "output"])
    loop = "for i = EACH.first, #ARGV, EACH.step do f(ARGV[i + EACH.id], ARGV[i + EACH.output]) end\n"

    assert named(loop, header) == "for i = 2, #ARGV, 2 do f(ARGV[i], ARGV[i + 1]) end\n"
    assert named("f(KEYS.task, ARGV.token)\n", header) == "f(KEYS[2], ARGV[1])\n"
    assert named("x = Outcome.KEPT\n", header) == "x = 'keep'\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_uses_its_keys_and_arguments_by_their_names_and_all_of_them(name: str) -> None:
    header = load(name).header
    code = (FILES / f"{name}.lua").read_text("utf-8").partition("\n\n")[2]

    assert not re.search(r"\b(?:KEYS|ARGV)\[\d|unpack\(KEYS", code)
    assert set(re.findall(r"\bARGV\.(\w+)", code)) == set(header.args)
    # What needs no key of its own is still to go to the node that has the tasks.
    assert set(re.findall(r"\bKEYS\.(\w+)", code)) == (set() if name == "emit" else set(header.keys))


def test_a_call_names_what_its_script_declares_and_nothing_else() -> None:
    calls = Calls(RedisKeys())

    call = calls.make("many_slots/renew", task_id="a", token="w:1", poison_window=5)

    assert call == Call("many_slots/renew", ["task-a"], ["w:1", 5])
    with pytest.raises(TypeError, match="token"):
        calls.make("many_slots/renew", task_id="a", poison_window=5)
    with pytest.raises(TypeError, match="tokn"):
        calls.make("many_slots/renew", task_id="a", token="w:1", tokn="w:1", poison_window=5)
    with pytest.raises(TypeError, match="held"):
        calls.make("many_slots/still", ["a"])
    assert calls.make("many_slots/still", ["a"], worker="w").keys == [RedisKeys().held("w")]


def test_ids_are_random_uuids_as_uuid4_writes_them() -> None:
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(str(UUID(each)) == each and UUID(each).version == 4 for each in ids)
    assert all(UUID(each).variant == RFC_4122 for each in ids)
