"""``pytaskctl workers``: shows the workers of a supervisor, and sends it commands. Called by ``main``.

No Redis is needed here. ``top`` shows the same rows.
"""

from __future__ import annotations

import datetime
from typing import Any

from .arguments import AWAITED, Options
from .control_client import MasterError, ask, find
from .output import Output
from .replacing import change_workers

COLUMNS = ("SLOT", "PID", "STAGE", "UPTIME", "TASKS", "DONE", "DONE/S", "MEMORY", "CPU", "LAG", "RESTARTS")

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def workers(options: Options, output: Output) -> int:
    """Show or steer; 1 where no supervisor answers, or it refuses. ``change_workers`` tells the codes of ``--wait``."""
    try:
        path = find(options.control_socket)
        if options.deaths:
            _tell_deaths(ask(path, do="deaths"), output)
        elif options.action == "show":
            told = ask(path, do="show")
            if output.as_json:
                output.json(told)
            else:
                output.table(COLUMNS, [row(worker) for worker in told["workers"]], compact=True)
        elif options.action in AWAITED:
            return change_workers(path, _order(options), options, output)
        else:
            _say(ask(path, **_order(options)), output)
    except MasterError as error:
        output.complain(str(error))
        return 1
    return 0


def row(worker: dict[str, Any]) -> list[str]:
    """A worker's cells, in the order of ``COLUMNS``."""
    figures = worker["figures"]
    known = [
        f"{figures['rate']:g}" if "rate" in figures else "-",
        f"{figures['memory'] / 2**20:.1f} MiB" if "memory" in figures else "-",
        f"{figures['cpu'] * 100:.1f} %" if "cpu" in figures else "-",
        f"{figures['lag'] * 1000:.0f} ms" if "lag" in figures else "-",
    ]
    # A worker that starts has not asked Redis yet.
    is_cut_off = not figures.get("up", True) and worker["stage"] != "started"
    stage = f"{worker['stage']}, no Redis" if is_cut_off else worker["stage"]
    pid = "-" if worker["pid"] is None else str(worker["pid"])
    counts = [str(worker["running"]), str(worker["done"])]
    return [str(worker["slot"]), pid, stage, span(worker["uptime"]), *counts, *known, str(worker["restarts"])]


def span(seconds: float) -> str:
    """A time span for people: ``12 s``, ``5 min``, ``3 h 20 min``, ``2 d 1 h``."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def _order(options: Options) -> dict[str, Any]:
    orders: dict[str, dict[str, Any]] = {
        "scale": {"do": "scale", "workers": options.number},
        "quiet": {"do": "quiet"},
        "resume": {"do": "resume"},
        "restart": {"do": "restart", "slot": options.number},
        "reload": {"do": "reload"},
        "stop": {"do": "stop", "slot": options.number},
    }
    return orders[options.action]


def _say(sentence: str, output: Output) -> None:
    if output.as_json:
        output.json({"done": True, "said": sentence})
    else:
        output.line(sentence)


def _tell_deaths(deaths: list[dict[str, Any]], output: Output) -> None:
    if output.as_json:
        output.json_array(deaths)
        return
    rows = [(_when(death["when"]), death["text"], span(death["uptime"]), str(death["running"])) for death in deaths]
    output.table(("WHEN", "WHO AND WHY", "UPTIME", "TASKS"), rows)


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
