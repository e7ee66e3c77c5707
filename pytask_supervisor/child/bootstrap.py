"""Patches gevent and loads the app: in a worker, in the fork server, or for ``--check-config``.

None of them is the master, which never loads this room.
"""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Any

from gevent import getcurrent, monkey

from pytask_supervisor.config.options import SupervisorConfig
from pytask_supervisor.host.privileges import become
from pytask_supervisor.shared.exits import Exit, LoadError, StartError
from pytask_supervisor.shared.logs import write_line
from pytask_supervisor.shared.redact import redact

if TYPE_CHECKING:
    from pytask_core import PyTask


def bring_up(config: SupervisorConfig, redis_url: str | None) -> tuple[PyTask, list[str]]:
    """The app, and warnings about options that it overrules; ``redis_url`` is for an app that names none.

    Raises ``LoadError``.
    """
    monkey.patch_all()
    if redis_url is not None:
        os.environ["PYTASK_REDIS_URL"] = redis_url

    try:
        from pytask_supervisor.child.loader import forbid_run, load_app  # noqa: PLC0415 - after patching
    except ImportError as error:
        remedy = "install it again, or rename your file if one is called like a library"
        raise LoadError(f"pytask itself cannot be loaded: {error}: {remedy}", traceback.format_exc()) from error
    forbid_run()
    try:
        # Anew, since a deployment may have switched a link meanwhile.
        if config.folder:
            os.chdir(config.folder)
    except OSError as error:
        raise LoadError(f"cannot go to {config.folder}: {error.strerror}") from error
    return load_app(config, os.getcwd())


def current_greenlet() -> Any:
    """The one that loads the app; where it waits, its frame is to be found in it."""
    return getcurrent()


def rehearse(config: SupervisorConfig) -> int:
    """Load the app as a worker would, and say what is wrong; the result is the exit code."""
    try:
        become(config)
        _, warnings = bring_up(config, None if config.is_embedded else config.redis)
    except StartError as error:
        write_line(f"pytask-supervisor: {error}\n")
        return Exit.USAGE
    except LoadError as error:
        write_line(redact(f"{error.detail}pytask-supervisor: {error}\n"))
        return error.code
    for warning in warnings:
        write_line(f"pytask-supervisor: {warning}\n")
    return Exit.OK
