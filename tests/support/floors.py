"""The lowest versions that ``pyproject.toml`` allows, as pip takes them: ``python -m tests.support.floors``."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
EXTRAS = ("embedded", "metrics")

#: As ``redis>=3.5.3,!=4.*``.
FLOOR = re.compile(r"([a-z-]+)>=([0-9.]+)")


def floors() -> list[str]:
    """``name==version`` of all that a user installs; raises ``ValueError`` where a requirement has no floor."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    wanted = [*project["dependencies"], *(each for extra in EXTRAS for each in project["optional-dependencies"][extra])]
    found = []
    for requirement in wanted:
        match = FLOOR.match(requirement)
        if match is None:
            raise ValueError(f"{requirement} has no floor")
        found.append(f"{match[1]}=={match[2]}")
    # redis-py 3 needs distutils, which Python 3.12 dropped.
    return [*found, "setuptools<80"] if sys.version_info >= (3, 12) else found


if __name__ == "__main__":
    sys.stdout.write("\n".join(floors()) + "\n")
