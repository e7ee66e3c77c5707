"""Each statement of ``docs/moving_from_pytask.rst`` that no other test proves."""

from __future__ import annotations

import json
import logging
import time

import gevent
import pytest

from pytask_core import InvalidTask, PyTask, Task
from pytask_core.connection import disconnect
from pytask_core.connection.nodes import is_cluster
from pytask_core.tasks import Cleanup, Monitor
from tests.support.processes.supervisor_process import ROOT
from tests.support.waiting import wait_until
from tests.worker.conftest import Live


class Short(Task):
    NAME = "short"

    def start(self):
        return "done"


class Forever(Task):
    NAME = "forever"

    def start(self):
        gevent.sleep(1000)


def test_what_the_original_left_is_taken_or_queued_by_a_monitor_or_cleaned(live: Live) -> None:
    """STOPPED in the queue after SIGINT, RUNNING after a kill, COMPLETE as 1.0 wrote it, output that is no JSON."""
    task = live.keys.task
    live.redis.hset(task("stopped"), mapping={"task": "short", "data": "{}", "state": "STOPPED"})
    live.redis.sadd(live.keys.task_set, "stopped")
    live.redis.lpush(live.keys.new_queue, "stopped")
    old = {"task": "short", "data": "{}", "state": "RUNNING", "last_update": f"{time.time() - 100}"}
    live.redis.hset(task("running"), mapping=old)
    live.redis.sadd(live.keys.task_set, "running")
    for state in ("COMPLETE", "SUCCESS"):
        live.redis.hset(task(state), mapping={"task": "short", "data": "{}", "state": state, "output": "None <it's>"})
        live.redis.lpush(live.keys.end_queue, state)
    app = live.app(Short, Monitor, Cleanup, task_timeout=2)
    app.start_local_task("pytask/monitor", loop_interval=0.2)
    app.start_local_task("pytask/cleanup", retention=100)
    live.begin(app)
    live.until("stopped", "SUCCESS")
    live.until("running", "SUCCESS", timeout=20)
    for state in ("COMPLETE", "SUCCESS", "stopped", "running"):
        wait_until(lambda state=state: live.redis.ttl(task(state)) > 0, message=f"{state} to be cleaned")
    wait_until(lambda: live.helpers.get_end_task_ids() == [])


@pytest.mark.parametrize("state", ["COMPLETE", "SUCCESS"])
def test_what_had_ended_under_the_original_starts_again(live: Live, state: str) -> None:
    live.redis.hset(live.keys.task("a"), mapping={"task": "short", "data": "{}", "state": state, "output": "None"})
    live.worker(Short)
    assert live.helpers.restart_task("a")
    wait_until(lambda: live.output("a") == '"done"')
    live.redis.hset(live.keys.task("b"), mapping={"task": "short", "data": "{}", "state": state, "output": "None"})
    live.helpers.start_task("short", task_id="b")
    wait_until(lambda: live.output("b") == '"done"')


def test_going_back_all_that_ran_waits_in_the_new_queue_and_nowhere_else(live: Live) -> None:
    worker = live.worker(Forever, concurrency=3)
    ids = live.helpers.start_tasks([("forever", {})] * 5)
    wait_until(lambda: sum(live.state(each) == "RUNNING" for each in ids) == 3)
    live.helpers.start_task("known-to-nobody", task_id="parked")
    live.end(worker)
    assert {live.state(each) for each in ids} <= {"WAIT", None}
    waiting = live.helpers.get_new_task_ids()
    assert sorted(each for each in waiting if each != "parked") == sorted(ids)
    assert live.helpers.get_active_task_ids() == []
    # As it is written there: what no worker knew is handed over by a push.
    for task_id in live.helpers.get_parked_task_ids():
        live.helpers.redis.lpush(live.keys.new_queue, task_id)
    assert "parked" in live.helpers.get_new_task_ids()


def test_an_app_and_its_helpers_have_the_names_of_the_keys_as_the_original_had(live: Live) -> None:
    app = live.app(Short)
    for each in (app, app.helpers, live.helpers):
        assert (live.keys.task_set, live.keys.task_prefix) == (each.TASK_SET, each.TASK_PREFIX)
        assert (live.keys.new_queue, live.keys.end_queue) == (each.NEW_QUEUE, each.END_QUEUE)
    assert (PyTask.StopTask, PyTask.PyTaskException) == (app.StopTask, app.PyTaskException)


def test_a_task_has_its_id_by_the_name_of_the_original_too(live: Live) -> None:
    class Named(Task):
        NAME = "named"

        def start(self):
            return [self._id, self.id]

    live.worker(Named)
    task_id = live.run("named")
    assert json.loads(live.output(task_id)) == [task_id, task_id]


def test_redis_gives_bytes_unless_text_is_asked_for_and_the_helpers_give_text(live: Live) -> None:
    if is_cluster(live.redis):
        pytest.skip("the same on a cluster; the app here names a single server")
    options = dict(live.server.client().connection_pool.connection_kwargs)
    options = {"unix_socket_path": options["path"]} if "path" in options else {"port": options["port"]}
    for more, expected in (({}, b"x"), ({"decode_responses": True}, "x")):
        app = PyTask({**options, **more}, **live.names)
        app.redis.set("{pytask}some", "x")
        assert app.redis.get("{pytask}some") == expected
        app.helpers.start_task("short", task_id="a")
        assert app.helpers.get_task("a", "task") == "short"
        app.helpers.close()
        disconnect(app.redis)


@pytest.mark.parametrize("value", [True, False, None, {"a": 1}])
def test_set_task_takes_texts_and_numbers_only(live: Live, value: object) -> None:
    live.helpers.start_task("short", task_id="a")
    with pytest.raises(InvalidTask, match="must be a text or a number"):
        live.helpers.set_task("a", "mine", value)
    assert live.helpers.set_task("a", "mine", "true")
    assert not live.helpers.set_task("not-there", "mine", "true")


def test_an_error_with_an_object_ends_with_its_text(live: Live) -> None:
    class Failing(Task):
        NAME = "failing"

        def __init__(self, as_json):
            self.as_json = as_json

        def start(self):
            raise self.Error(json.dumps({"code": 1}) if self.as_json else {"code": 1})

    live.worker(Failing)
    assert json.loads(live.output(live.run("failing", as_json=False))) == "{'code': 1}"
    assert json.loads(json.loads(live.output(live.run("failing", as_json=True)))) == {"code": 1}


def test_a_local_task_stands_in_the_task_set_and_is_said_to_be_local(live: Live) -> None:
    app = live.app(Forever)
    app.start_local_task("forever")
    live.begin(app)
    wait_until(lambda: len(live.helpers.get_active_task_ids()) == 1)
    (task_id,) = live.helpers.get_active_task_ids()
    assert live.helpers.get_task(task_id, "local") == "true"


def test_every_logger_that_is_named_is_below_pytask_and_there() -> None:
    text = (ROOT / "docs" / "moving_from_pytask.rst").read_text()
    entry = text.partition("Loggers\n")[2].partition("``run_loop``")[0]
    named = {word.strip("`") for word in entry.replace(",", " ").split() if word.startswith("``pytask.")}
    assert len(named) >= 5
    source = "".join(path.read_text() for path in ROOT.glob("pytask_*/**/*.py"))
    for name in named:
        assert f'getLogger("{name}")' in source, name
        assert logging.getLogger(name).parent in (logging.getLogger("pytask"), logging.getLogger())
