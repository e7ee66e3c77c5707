"""``WorkerApp``: what a worker is given to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..config import CoreConfig
from ..connection import RedisSource
from ..middleware import Middleware
from ..task import Task

if TYPE_CHECKING:
    from ..helpers import PyTaskHelpers


@dataclass(frozen=True, kw_only=True)
class WorkerApp:
    """An app, as its workers see it."""

    source: RedisSource  #: how to reach Redis
    config: CoreConfig  #: what the app was told
    classes: Mapping[str, type[Task]]  #: by name
    local_tasks: Sequence[tuple[str, dict[str, Any]]]  #: name and data of the tasks that belong to the worker
    middlewares: Sequence[Middleware]  #: the app's own, around every run of a task
    helpers: PyTaskHelpers  #: what tasks see as ``helpers``
