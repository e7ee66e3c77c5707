"""Several hosts of a test, each with a network of its own, joined by a switch. Its packets get lost as the test says.

Linux network namespaces: one for each host, and one for the switch, so that no rule of this machine's own bridges
applies. Needs root, ``ip`` of iproute2 and ``nft`` of nftables; ``why_not`` says what is missing.

A packet that gets lost is dropped by the host's own rules: no side is told anything, and no connection is closed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

#: What loses packets on a host; empty: nothing does.
_TABLE = """
table inet pytask {
    chain arriving { type filter hook input priority 0; }
    chain leaving { type filter hook output priority 0; }
}
"""

#: The third byte of the addresses, of which one is free: other tests may be at it.
_SUBNETS = range(1, 255)

_NUMBERS = itertools.count()


def why_not() -> str:
    """What is missing, as a sentence; empty where nothing is."""
    packages = {"ip": "iproute2", "nsenter": "util-linux", "nft": "nftables"}
    for program, package in packages.items():
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install {package}"
    try:
        with HostNetwork(1) as network:
            network.lose(0, arriving=f"ip saddr {network.ours}")
            return ""
    except OSError as error:
        return str(error)


class HostNetwork:
    """Use as a context.

    Args:
        hosts: how many.

    Raises:
        OSError: it may not be made here.
    """

    def __init__(self, hosts: int) -> None:
        self._count = hosts
        self._name = f"pytask-{os.getpid()}-hosts-{next(_NUMBERS)}"
        self._card = ""
        #: Of each host.
        self.addresses: list[str] = []
        #: Ours, as the hosts see it.
        self.ours = ""

    def launcher(self, host: int) -> Sequence[str]:
        """What runs a command on a host, in the same process."""
        return ["nsenter", f"--net=/run/netns/{self._host(host)}"]

    def lose(self, host: int, *, arriving: str = "", leaving: str = "") -> None:
        """Lose packets from now on: those that fit what ``nft`` is told, such as ``ip saddr 10.0.0.1 tcp dport 6379``.

        ``all`` fits every one. What a host says to itself always arrives.
        """
        for chain, words, way in (("arriving", arriving, "iif"), ("leaving", leaving, "oif")):
            if words:
                which = "" if words == "all" else words
                self._nft(host, f'add rule inet pytask {chain} {way} != "lo" {which} counter drop')

    def heal(self) -> None:
        """All arrives again."""
        for host in range(self._count):
            self._nft(host, "flush table inet pytask")

    def _host(self, number: int) -> str:
        return f"{self._name}-{number}"

    def _nft(self, host: int, words: str) -> None:
        _run(*self.launcher(host), "nft", "-f", "-", given=words)

    def __enter__(self) -> HostNetwork:
        names = [self._name, *map(self._host, range(self._count))]
        try:
            for name in names:
                _run("ip", "netns", "add", name)
                _run("ip", "-n", name, "link", "set", "lo", "up")
            _run("ip", "-n", self._name, "link", "add", "switch", "type", "bridge")
            _run("ip", "-n", self._name, "link", "set", "switch", "up")
            subnet = self._plug_us()
            self.ours = f"10.214.{subnet}.1"
            _run("ip", "addr", "add", f"{self.ours}/24", "dev", self._card)
            for host in range(self._count):
                self._plug(host, f"10.214.{subnet}.{host + 11}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _plug_us(self) -> int:
        """Join us to the switch; returns the subnet that is free."""
        for subnet in _SUBNETS:
            card = f"pytsw{subnet}"
            # There is one card of that name, so whoever makes it has the addresses.
            with suppress(FileExistsError):
                _run("ip", "link", "add", card, "type", "veth", "peer", "name", "us", "netns", self._name)
                self._card = card
                _run("ip", "link", "set", card, "up")
                self._join("us")
                return subnet
        raise OSError(f"all of pytsw1 to pytsw{_SUBNETS[-1]} are taken: ip link del those that are not in use")

    def _plug(self, host: int, address: str) -> None:
        name, port = self._host(host), f"port{host}"
        _run("ip", "-n", name, "link", "add", "card", "type", "veth", "peer", "name", port, "netns", self._name)
        self._join(port)
        _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "card")
        _run("ip", "-n", name, "link", "set", "card", "up")
        self._nft(host, _TABLE)
        self.addresses.append(address)

    def _join(self, port: str) -> None:
        _run("ip", "-n", self._name, "link", "set", port, "master", "switch")
        _run("ip", "-n", self._name, "link", "set", port, "up")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The cards go with them, but only once the last process there has ended.
        if self._card:
            _run("ip", "link", "del", self._card)
        for name in (self._name, *map(self._host, range(self._count))):
            with suppress(OSError):
                _run("ip", "netns", "del", name)


def _run(*words: str, given: str = "") -> None:
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = f"{' '.join(words)}: {done.stderr.strip()}"
        raise FileExistsError(why) if "File exists" in why else OSError(why)
