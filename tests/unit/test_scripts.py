"""What the server is sent of the Lua files."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import RFC_4122, UUID

import pytest

import pytask_core.store.scripts
from pytask_core.ids import new_id
from pytask_core.store.scripts import load

FILES = Path(pytask_core.store.scripts.__file__).with_name("lua")
SHARED = {"prelude", "queue", "parking", "knowing", "poison", "lease", "leaving"}
PARTS = {*SHARED, "deadline"}
SCRIPTS = sorted(
    str(file.relative_to(FILES).with_suffix(""))
    for file in FILES.rglob("*.lua")
    if file.stem not in PARTS or file.parent != FILES
)


def functions(text: str) -> list[str]:
    return re.findall(r"^local function (\w+)", text, re.MULTILINE)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_carries_the_shared_functions_that_it_names_whole_and_no_others(name: str) -> None:
    shared = "\n".join((FILES / f"{file}.lua").read_text("utf-8") for file in SHARED)
    sent = load(name).source

    for function in functions(shared):
        if function in functions(sent):
            assert len(re.findall(rf"\b{function}\b", sent)) > 1, f"{function} is made with each call for nothing"
        else:
            assert not re.search(rf"(?<![.:])\b{function}\(", sent), f"{function} is called and is not there"
    assert not re.search(r"^\s*--(?!!df)", sent, re.MULTILINE)


def test_ids_are_random_uuids_as_uuid4_writes_them() -> None:
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(str(UUID(each)) == each and UUID(each).version == 4 for each in ids)
    assert all(UUID(each).variant == RFC_4122 for each in ids)
