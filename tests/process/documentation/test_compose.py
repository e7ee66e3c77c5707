"""The documentation's example, as ``deploy/compose.yaml`` has it: its words and variables, on a real cluster."""

from __future__ import annotations

from contextlib import ExitStack, closing

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import ROOT, SupervisorProcess
from tests.support.servers.redis_cluster import ServerCluster
from tests.support.waiting import wait_until
from tests.unit.test_deploy import COMPOSE


def test_three_hosts_on_a_cluster_share_the_work_and_one_that_is_lost_is_made_up_for(tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    services = [service for name, service in COMPOSE["services"].items() if name.startswith("workers-")]
    with ExitStack() as stack:
        cluster = stack.enter_context(ServerCluster(masters=3))
        environ = {**services[0]["environment"], "PYTASK_REDIS_URL": cluster.url}
        names = {key.removeprefix("PYTASK_").lower(): value for key, value in environ.items() if "URL" not in key}
        hosts = []
        for service in services:
            folder = tmp_path_factory.mktemp("host")
            (folder / "tasks.py").write_text((ROOT / "deploy" / "tasks.py").read_text())
            # Two workers a host rather than four: it is the same, and this machine is one.
            words = ["2" if word == "4" else word for word in service["command"]]
            hosts.append(stack.enter_context(SupervisorProcess(folder, *words, environ=environ)))
        helpers = stack.enter_context(closing(PyTaskHelpers(cluster.url, **names)))
        for host in hosts:
            host.wait_ready(2)
        ended = helpers.start_tasks([("hello", {"name": str(number)}) for number in range(30)])
        clocks = helpers.start_tasks([("clock", {"seconds": 1})] * 12)
        wait_until(lambda: all(helpers.get_task(one).get("state") == "SUCCESS" for one in ended), 20)
        wait_until(lambda: all(helpers.get_task(one).get("state") == "RUNNING" for one in clocks), 20)

        assert hosts[0].stop() == 0
        wait_until(lambda: sum(running(host) for host in hosts[1:]) >= len(clocks), 20)
        for host in hosts[1:]:
            assert host.stop() == 0


def running(host: SupervisorProcess) -> int:
    """Tasks in a host's workers, as their titles tell; Monitor and Cleanup are two of each."""
    counts = [int(title.partition("(")[2].split()[0]) for title in host.titles() if "running" in title]
    return sum(counts) - 2 * len(counts)
