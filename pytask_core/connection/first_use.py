"""``AtFirstUse``: lets a client that connects in ``__init__`` be made while no server can be reached."""

from __future__ import annotations

import threading
from typing import Any


class AtFirstUse:
    """Stands before a client class; ``begin`` takes the place of ``__init__``, and ``_connect`` calls that."""

    _is_open = False
    _opener: int | None = None

    def begin(self) -> None:
        """To be called by ``__init__``, before it sets anything else."""
        self._opening = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        """Connect: anything that the client does needs an attribute that its ``__init__`` has not set yet."""
        if name.startswith("__") or self._is_open or self._opener == threading.get_ident():
            raise AttributeError(name)
        self._open()
        return object.__getattribute__(self, name)

    def _open(self) -> None:
        with self._opening:
            if self._is_open:
                return
            before = dict(self.__dict__)
            self._opener = threading.get_ident()
            try:
                self._connect()
            except BaseException:
                self.disconnect()
                self.__dict__.clear()
                self.__dict__.update(before)
                raise
            self._opener, self._is_open = None, True

    def _connect(self) -> None:
        raise NotImplementedError

    def disconnect(self) -> None:
        """Close all connections."""
        raise NotImplementedError
