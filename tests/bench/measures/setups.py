"""The same on a single server, on a cluster whose names share a hash tag, and on one with the default names."""

from __future__ import annotations

import time

from tests.bench.contenders import OURS
from tests.bench.measures.beside import BULK, ONE, RATE, SERVER, WORKER
from tests.bench.results import Results
from tests.bench.stage import Stage
from tests.support.servers.setups import SETUPS

#: What the reader calls them.
TITLES = {
    "single": "single server",
    "cluster-tag": "cluster of 3, names with a hash tag",
    "cluster": "cluster of 3, default names",
}


def all_setups(count: int, results: Results) -> None:
    """No-op tasks and starts on each."""
    for name, setup in SETUPS.items():
        who = TITLES[name]
        kind = {} if setup.is_cluster else {"tcp": True}
        with setup.server(**kind) as server, Stage(server, OURS, names=setup.names) as stage:
            results.add(ONE, who, stage.client("one", "noop", count // 10))
            server.flush()
            results.add(BULK, who, stage.client("many", "noop", count))
            stage.start()
            before = stage.cost_at_first_row()
            stage.wait_rows(count + 1)
            time.sleep(0.3)
            cost = stage.cost().since(before)
            times = sorted(row.at for row in stage.read())
            results.add(RATE, who, (len(times) - 1) / (times[-1] - times[0]))
            results.add(SERVER, who, cost.server / count * 1e6)
            results.add(WORKER, who, cost.workers / count * 1e6)
