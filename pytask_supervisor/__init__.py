"""The pre-fork master that keeps gevent workers alive on one server: ``pytask-supervisor``."""

from __future__ import annotations

__version__ = "0.1.0"
