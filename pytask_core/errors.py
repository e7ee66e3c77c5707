"""The exceptions of pytask.

Raised all over the core and caught by users; each is also an attribute of ``PyTask``, as in the original.
"""

from __future__ import annotations


class PyTaskException(Exception):  # noqa: N818 - the original's public name
    """The root of everything that pytask raises on purpose."""


class StopTask(PyTaskException):
    """Thrown into ``Task.start`` when the task is to stop. Let it pass."""


class MissingTaskError(PyTaskException):
    """A task names a class that no worker here knows."""


class InvalidTask(PyTaskException, ValueError):  # noqa: N818 - named like its siblings
    """A task's id, name, data, output or event cannot be used as it is; the text says why."""


class PayloadTooLarge(InvalidTask):
    """Data, an output or an event is larger than ``max_payload`` bytes."""


class RedisRefused(PyTaskException):
    """Redis answers, but not to us: wrong password, no permission, too old, or key names that mix slots."""
