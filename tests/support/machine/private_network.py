"""A network of its own for one host of a test: between it and us lies a wire that can fall silent.

A Linux network namespace, joined to ours by a pair of virtual cards. We have several addresses on our card, so that
each node of a cluster can have its own. Needs root and ``ip`` of iproute2; ``why_not`` says what is missing.

Silence is made by a wrong hardware address in the neighbour table: packets go out and nobody takes them, which is what
a switch that died looks like. Nobody is told anything, and no connection is closed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType

#: A hardware address that nobody has.
_NOBODY = "02:00:00:00:00:ff"

#: The third byte of the addresses, of which one is free: other tests may be at it.
_SUBNETS = range(1, 255)


def why_not() -> str:
    """What is missing, as a sentence; empty where nothing is."""
    for program in ("ip", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install iproute2 util-linux"
    try:
        with PrivateNetwork():
            return ""
    except OSError as error:
        return str(error)


class PrivateNetwork:
    """Use as a context.

    Args:
        addresses: how many of ours it can see.

    Raises:
        OSError: it may not be made here.
    """

    def __init__(self, addresses: int = 1) -> None:
        self._count = addresses
        self._name = ""
        self._cards = ("", "")
        #: Ours, as seen from there.
        self.addresses: list[str] = []
        #: Its own.
        self.address = ""

    @property
    def launcher(self) -> Sequence[str]:
        """What runs a command there, in the same process."""
        return ["nsenter", f"--net=/run/netns/{self._name}"]

    def silence(self, *addresses: str) -> None:
        """What it sends to those addresses of ours, or to all, gets lost from now on."""
        for address in addresses or self.addresses:
            self._there("neigh", "replace", address, "lladdr", _NOBODY, "dev", self._cards[1], "nud", "permanent")

    def silence_answers(self) -> None:
        """What we send to it gets lost from now on, and what it sends arrives."""
        _ip("neigh", "replace", self.address, "lladdr", _NOBODY, "dev", self._cards[0], "nud", "permanent")

    def heal(self) -> None:
        """All arrives again."""
        _ip("neigh", "flush", "dev", self._cards[0], "nud", "permanent")
        self._there("neigh", "flush", "dev", self._cards[1], "nud", "permanent")

    def _there(self, *words: str) -> None:
        _ip("-n", self._name, *words)

    def __enter__(self) -> PrivateNetwork:
        for subnet in _SUBNETS:
            self._name = f"pytask-{os.getpid()}-{next(_NUMBERS)}"
            self._cards = (f"pyt{subnet}", f"pyt{subnet}-there")
            _ip("netns", "add", self._name)
            try:
                # There is one card of that name, so whoever makes it has the addresses.
                _ip("link", "add", self._cards[0], "type", "veth", "peer", "name", self._cards[1], "netns", self._name)
            except FileExistsError:
                _ip("netns", "del", self._name)
                continue
            except OSError:
                _ip("netns", "del", self._name)
                raise
            self._join(subnet)
            return self
        raise OSError(f"all of pyt1 to pyt{_SUBNETS[-1]} are taken: ip link del those that nobody uses")

    def _join(self, subnet: int) -> None:
        self.addresses = [f"10.213.{subnet}.{number}" for number in range(1, 1 + self._count)]
        self.address = f"10.213.{subnet}.254"
        for address in self.addresses:
            _ip("addr", "add", f"{address}/24", "dev", self._cards[0])
        _ip("link", "set", self._cards[0], "up")
        self._there("addr", "add", f"{self.address}/24", "dev", self._cards[1])
        self._there("link", "set", self._cards[1], "up")
        self._there("link", "set", "lo", "up")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The cards go with it, but only once the last process there has ended.
        _ip("link", "del", self._cards[0])
        _ip("netns", "del", self._name)


_NUMBERS = itertools.count()


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = f"ip {' '.join(words)}: {done.stderr.strip()}"
        raise FileExistsError(why) if "File exists" in why else OSError(why)
