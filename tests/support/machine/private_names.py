"""Names of hosts that only the processes of one test know, and that change their address while it runs.

A private mount namespace in which ``/etc/hosts`` is a file of the test's, and nobody else is asked, as a DNS that fails
is no help either. Needs root and ``unshare`` of util-linux; ``why_not`` says what is missing.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: ``$0`` and ``$1`` are our files, the rest is the command.
_MOUNT = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'


class PrivateNames:
    """``folder`` is where the files are kept."""

    def __init__(self, folder: Path) -> None:
        self._hosts = folder / "hosts"
        self._switch = folder / "nsswitch.conf"
        self._switch.write_text("hosts: files\n")
        self.forget()

    @property
    def launcher(self) -> Sequence[str]:
        """What runs a command that knows them, in the same process."""
        return ["unshare", "--mount", "sh", "-c", _MOUNT, str(self._hosts), str(self._switch)]

    def set(self, name: str, address: str) -> None:
        """From now on the name has that address."""
        # Written in place: what is mounted is this very file.
        self._hosts.write_text(f"127.0.0.1 localhost\n{address} {name}\n")

    def forget(self) -> None:
        """No name is known any more."""
        self._hosts.write_text("127.0.0.1 localhost\n")


def why_not(folder: Path) -> str:
    """What is missing, as a sentence; empty where nothing is."""
    if shutil.which("unshare") is None:
        return "unshare is not installed: apt-get install util-linux"
    names = PrivateNames(folder)
    done = subprocess.run([*names.launcher, "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip()
