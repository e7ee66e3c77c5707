"""The pictures of the flows in ``docs/design.rst``, from what is said here. Run it to draw them again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

PICTURES = Path(__file__).parents[3] / "docs" / "pictures"

WIDTH, GAP, LEFT, TOP = 236, 104, 12, 58  #: of a lane, between two, and before the first box
LINE, PAD = 16, 10  #: of a line of text, and inside a box
STYLE = """
.page { fill: #ffffff } .box { fill: #eef3fa; stroke: #5b7fae } .outside { fill: #f6f0e4; stroke: #a78a4d }
.lane { stroke: #c9ced6; stroke-dasharray: 3 4 } .arrow { stroke: #444c56 } .head { fill: #444c56 }
text { fill: #1f2328; font: 12px sans-serif } .title { font-weight: bold; font-size: 14px }
.room { font-family: monospace; font-weight: bold } .label { fill: #57606a; font-size: 11px }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } .box { fill: #172a45; stroke: #6f9bd8 } .outside { fill: #2f2818; stroke: #bfa15c }
.lane { stroke: #3d444d } .arrow { stroke: #adb5bf } .head { fill: #adb5bf }
text { fill: #e6edf3 } .label { fill: #adb5bf } }
"""


@dataclass(frozen=True)
class Box:
    """A stay in one lane: rooms, or keys of Redis, each with what happens there; and what goes on to the next box.

    ``script``: the file in ``store/lua`` that does so.
    """

    lane: int
    entries: tuple[tuple[str, str], ...]
    passes: str = ""
    script: str = ""

    @property
    def height(self) -> int:
        """In pixels."""
        return 2 * LINE * len(self.entries) + 2 * PAD


@dataclass(frozen=True)
class Flow:
    """One picture. ``outside``: the lane that is not our code, whose entries are no rooms."""

    title: str
    lanes: tuple[str, ...]
    outside: int
    boxes: tuple[Box, ...]

    @property
    def rooms(self) -> list[str]:
        """Every room that it names."""
        return [name for box in self.boxes if box.lane != self.outside for name, _ in box.entries]


FLOWS = {
    "flow_task.svg": Flow(
        "A task, from start_task to its end",
        ("your program", "Redis", "a worker"),
        1,
        (
            Box(
                0,
                (
                    ("helpers", "start_task: checks it, gives it an id"),
                    ("store/client", "many starts in one script"),
                    ("store/sender", "one round trip to each node"),
                ),
                "name, data",
                "enqueue.lua",
            ),
            Box(1, (("task-ID", "state WAIT"), ("new-task", "ID, last in the queue")), "wakes one"),
            Box(
                2,
                (
                    ("worker/claiming/claimer", "asks for as many as have room"),
                    ("store/worker", "claims them, with a token"),
                ),
                "token, room",
                "claim.lua",
            ),
            Box(1, (("task-ID", "state RUNNING, owner: the token"), ("tasks", "ID, moved here")), "id, name, data"),
            Box(
                2,
                (
                    ("worker/executor", "spawns a greenlet for each"),
                    ("worker/pipeline", "class, data, context, then start"),
                    ("task", "your class: __init__, start()"),
                    ("worker/reporter", "sends events and ends, in order"),
                    ("store/worker", "ends it, if the token still holds"),
                    ("worker/executor", "has room again once it is ended"),
                ),
                "state, output",
                "finish.lua",
            ),
            Box(
                1,
                (
                    ("task-ID", "state SUCCESS, output"),
                    ("end-task", "ID, moved here"),
                    ("channel task-ID", "event success"),
                ),
                "ID, later",
            ),
            Box(
                2,
                (
                    ("maintenance/cleanup", "takes it, in any worker"),
                    ("store/keeper", "removes ID and task-ID"),
                ),
            ),
        ),
    ),
    "flow_reload.svg": Flow(
        "SIGHUP: a reload",
        ("kernel", "master", "workers"),
        0,
        (
            Box(0, (("SIGHUP", "sent to the master"),), "signal"),
            Box(
                1,
                (
                    ("shared/signals", "notes the number, wakes the loop"),
                    ("master/supervisor", "its loop looks into its table"),
                    ("master/commands", "reload: what operators can ask"),
                    ("master/reloads", "reads the configuration again"),
                    ("master/reload", "this reload, up to its outcome"),
                    ("master/rolling", "takes one slot after another"),
                    ("master/worker_pool", "wants a successor in the slot"),
                    ("master/spawner", "forks it"),
                ),
                "Assignment",
            ),
            Box(
                2,
                (
                    ("child/main", "the successor: steps after the fork"),
                    ("child/bootstrap", "patches gevent, loads the app"),
                    ("worker/worker", "greets Redis, begins to claim"),
                    ("child/master_link", "tells the master"),
                ),
                "ready",
            ),
            Box(
                1,
                (
                    ("master/worker_messages", "notes that it is ready"),
                    ("master/rolling", "sees so in its next turn"),
                    ("master/worker_pool", "gives the slot to the successor"),
                    ("master/worker_handle", "asks the predecessor to leave"),
                    ("master/reload", "the new configuration is proven"),
                ),
                "drain",
            ),
            Box(
                2,
                (
                    ("child/master_link", "the predecessor hears it"),
                    ("worker/draining", "short tasks may end first"),
                    ("worker/shutdown", "the others go back to the queue"),
                    ("child/main", "says that it left, and ends"),
                ),
                "exit",
            ),
            Box(0, (("SIGCHLD", "a child has ended"),), "signal"),
            Box(
                1,
                (
                    ("master/supervisor", "reaps it by waitpid"),
                    ("master/deaths", "knows that it was asked to go"),
                    ("master/rolling", "takes the next slot"),
                ),
            ),
        ),
    ),
    "flow_stop.svg": Flow(
        "SIGINT: a graceful stop",
        ("kernel", "master", "each worker"),
        0,
        (
            Box(0, (("SIGINT", "sent to the master"),), "signal"),
            Box(
                1,
                (
                    ("shared/signals", "notes the number, wakes the loop"),
                    ("master/supervisor", "its loop looks into its table"),
                    ("master/shutdown", "begins; a second SIGINT kills all"),
                    ("master/worker_pool", "stops all workers"),
                    ("master/worker_handle", "sends SIGINT, sets a deadline"),
                ),
                "SIGINT",
            ),
            Box(
                2,
                (
                    ("process/signals", "wakes gevent's loop"),
                    ("child/master_link", "answers: stopping"),
                    ("worker/shutdown", "claims no more; tasks must leave"),
                    ("worker/stopping", "stop(), then StopTask, then harder"),
                    ("worker/reporter", "requeues what did not end"),
                    ("store/worker", "state WAIT, front of the queue"),
                    ("child/main", "says that it left, and ends"),
                ),
                "exit",
            ),
            Box(0, (("SIGCHLD", "a child has ended"),), "signal"),
            Box(
                1,
                (
                    ("master/supervisor", "reaps it by waitpid"),
                    ("master/deaths", "hands back what it left, if any"),
                    ("master/shutdown", "when all are gone: the exit code"),
                ),
            ),
        ),
    ),
}


def drawn(flow: Flow) -> str:
    """As SVG: the boxes go down like stairs, each arrow leads from the foot of one to the head of the next."""
    width = len(flow.lanes) * (WIDTH + GAP) - GAP + 2 * LEFT
    parts, top = [], TOP
    for number, (box, after) in enumerate(zip(flow.boxes, (*flow.boxes[1:], None), strict=True), 1):
        parts += _box(box, number, top, box.lane == flow.outside)
        foot = top + box.height - LINE
        if after is not None:
            parts += _arrow(box, after, foot)
            top = foot - LINE
    height = top + flow.boxes[-1].height + PAD
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(flow.title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
    ]
    for number, name in enumerate(flow.lanes):
        middle = _left(number) + WIDTH // 2
        head.append(f'<text class="title" x="{middle}" y="30" text-anchor="middle">{escape(name)}</text>')
        head.append(f'<line class="lane" x1="{middle}" x2="{middle}" y1="42" y2="{height - PAD}"/>')
    return "\n".join([*head, *parts, "</svg>", ""])


def _left(lane: int) -> int:
    return LEFT + lane * (WIDTH + GAP)


def _box(box: Box, number: int, top: int, is_outside: bool) -> list[str]:
    left, kind = _left(box.lane), "outside" if is_outside else "box"
    lines = [f'<rect class="{kind}" x="{left}" y="{top}" width="{WIDTH}" height="{box.height}" rx="6"/>']
    lines.append(f'<text class="label" x="{left + WIDTH - 8}" y="{top + 16}" text-anchor="end">{number}</text>')
    for place, (name, text) in enumerate(box.entries):
        y = top + PAD + 12 + 2 * LINE * place
        lines.append(f'<text class="room" x="{left + 10}" y="{y}">{escape(name)}</text>')
        lines.append(f'<text x="{left + 20}" y="{y + LINE - 1}">{escape(text)}</text>')
    return lines


def _arrow(box: Box, after: Box, y: int) -> list[str]:
    if after.lane > box.lane:
        start, end, way = _left(box.lane) + WIDTH, _left(after.lane), 1
    else:
        start, end, way = _left(box.lane), _left(after.lane) + WIDTH, -1
    middle = (start + end) // 2
    return [
        f'<line class="arrow" x1="{start}" x2="{end - 7 * way}" y1="{y}" y2="{y}"/>',
        f'<path class="head" d="M{end} {y} l{-9 * way} -4 v8 z"/>',
        f'<text class="label" x="{middle}" y="{y - 5}" text-anchor="middle">{escape(box.passes)}</text>',
        f'<text class="label" x="{middle}" y="{y + 14}" text-anchor="middle">{escape(box.script)}</text>',
    ]


if __name__ == "__main__":
    for name, flow in FLOWS.items():
        (PICTURES / name).write_text(drawn(flow), "utf-8")
