"""What every contender is told, by the environment."""

from __future__ import annotations

import os

URL = os.environ["BENCH_URL"]

#: Tasks at once in one process.
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "1000"))

#: redis-py 8 refuses the 101st connection of a pool; a thousand greenlets need more, so rivals get as many.
CONNECTIONS = 5000
