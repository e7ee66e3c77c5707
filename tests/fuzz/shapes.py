"""Values of all kinds, and messages of ours with something in them that is another value."""

from __future__ import annotations

import copy
import json
import os
from typing import Any

from hypothesis import strategies as st

#: Examples of each test. More find more: ``make fuzz`` takes as many as its time allows.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))

ODD = [
    0,
    -1,
    1e308,
    2**53 + 1,
    2**64,
    10**400,
    float("nan"),
    float("inf"),
    True,
    None,
    "",
    "\x1b[31m",
    "\ud800",
    "x" * 3000,
]

#: Of members of an object: JSON can have half a surrogate pair in them.
names = st.text(max_size=12) | st.just("\ud800")

values = st.recursive(
    st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)

HISTOGRAM = {"sum": 1.5, "counts": {"0.01": 1, "+Inf": 2}}
MESSAGES: list[dict[str, Any]] = [
    {"worker": "host-1-abcdef01"},
    {"ready": True},
    {
        "beat": {
            "at": 5.0,
            "running": 1,
            "done": 2,
            "names": {"job": 1},
            "rate": 1.0,
            "lag": 0.1,
            "memory": 5,
            "up": True,
        }
    },
    {
        "tally": {
            "claimed": 1,
            "cpu": 0.5,
            "tasks": {"job": {"ended": {"SUCCESS": 1}, "run": HISTOGRAM, "queue": HISTOGRAM}},
        }
    },
    {"queues": {"new": 1, "active": 2, "end": 3}},
    {"warning": "something"},
    {"failed": "it cannot", "detail": "Traceback"},
    {"handed_back": "host-2-00000000", "count": 3},
    {"stopping": True},
    {"left": True},
    {"pulse": 0.5},
    {"thread": 7},
    {"blocked": "task 'x' (y) blocks", "culprit": "x"},
    {"hung": "task 'x' (y) blocks", "seconds": 31.0, "culprit": "x"},
]


@st.composite
def changed(draw: st.DrawFn, originals: list[Any]) -> Any:
    """One of them, with a value somewhere in it replaced, removed, or put beside."""
    root = {"": copy.deepcopy(draw(st.sampled_from(originals)))}
    holder: Any = root
    key: Any = ""
    while isinstance(holder[key], dict | list) and holder[key] and draw(st.booleans()):
        holder = holder[key]
        key = (
            draw(st.sampled_from(sorted(holder))) if isinstance(holder, dict) else draw(st.integers(0, len(holder) - 1))
        )
    way = draw(st.sampled_from(["as it is", "replace", "remove", "beside"]))
    if way == "replace":
        holder[key] = draw(values)
    elif way == "remove" and holder is not root:
        del holder[key]
    elif way == "beside" and isinstance(holder, dict) and holder is not root:
        holder[draw(names)] = draw(values)
    return root[""]


class Said(bytes):
    """Bytes that are told in few words: what does not end well is shown in parts."""

    def __repr__(self) -> str:
        return super().__repr__() if len(self) < 1000 else f"Said({bytes(self[:500])!r}, {len(self)} bytes)"


def as_line(value: Any) -> Said:
    return Said(json.dumps(value).encode() + b"\n")


#: What may come over a line, in pieces of any size.
lines = (
    changed(MESSAGES).map(as_line)
    | values.map(as_line)
    | st.binary(max_size=200)
    | st.sampled_from(
        list(map(Said, [b"[" * 5000, b'{"beat":' * 5000, b"x" * 70_000, b'{"pulse": 0}\n' * 1000, b"1" * 5000 + b"\n"]))
    )
)
