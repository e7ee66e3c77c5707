"""The files in ``deploy/`` say what there is: real options, real signals, times that fit, YAML that can be read."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from pytask_supervisor.config.options import SupervisorConfig, options
from pytask_supervisor.config.settings import load_config
from pytask_supervisor.shared.exits import Exit
from tests.support.servers.redis_server import client_options, free_port, server_binary
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES: dict[str, dict[str, Any]] = {
    thing["kind"]: thing for thing in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
}
POD: dict[str, Any] = KUBERNETES["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def dockerfile() -> list[tuple[str, str]]:
    """Instruction and rest, continued lines joined, comments left out."""
    text = "\n".join(line for line in (DEPLOY / "Dockerfile").read_text().split("\n") if not re.match(r"\s*#", line))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.replace("\\\n", "").split("\n"))]


def instruction(name: str) -> str:
    (rest,) = [rest.strip() for word, rest in dockerfile() if word == name]
    return rest


def image_environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in instruction("ENV").split())


def unit() -> list[tuple[str, str]]:
    lines = (DEPLOY / "pytask-supervisor.service").read_text().splitlines()
    return [(key, value) for key, _, value in (line.partition("=") for line in lines if re.match(r"\w+=", line))]


def unit_value(key: str) -> str:
    (value,) = [value for name, value in unit() if name == key]
    return value


def commands() -> Iterator[tuple[str, list[str], Mapping[str, str]]]:
    """Every start of a supervisor: where it stands, its flags, and its environment."""
    image = image_environment()
    yield "Dockerfile", json.loads(instruction("CMD")), image
    for name, service in COMPOSE["services"].items():
        if service.get("image") == "pytask":
            yield f"compose: {name}", service["command"], image | service["environment"]
    kubernetes = {item["name"]: "redis://somewhere" for item in CONTAINER["env"]}
    yield "kubernetes", CONTAINER["args"], image | kubernetes
    own = dict(value.split("=", 1) for key, value in unit() if key == "Environment")
    yield "systemd", shlex.split(unit_value("ExecStart"))[1:], own


COMMANDS = {where: (flags, environment) for where, flags, environment in commands()}


def config(where: str, folder: Path) -> SupervisorConfig:
    flags, environment = COMMANDS[where]
    return load_config(flags, environment, folder)


@pytest.mark.parametrize("where", COMMANDS)
def test_every_flag_and_variable_is_one_that_there_is_and_makes_sense(where: str, tmp_path: Path) -> None:
    _, environment = COMMANDS[where]
    assert config(where, tmp_path).label in ("tasks", "myproject.tasks:app")
    known = {option.environment for option in options()}
    assert {name for name in environment if name.startswith("PYTASK_")} <= known
    assert set(environment) - known <= {"PYTHONUNBUFFERED"}


def test_the_documentations_example_is_three_hosts_with_two_nodes_and_four_workers_each(tmp_path: Path) -> None:
    services = COMPOSE["services"]
    hosts = [name for name in services if name.startswith("workers-")]
    assert len(hosts) == 3
    # A replica of each master: with masters alone, the loss of one host would stop everything.
    assert len([name for name in services if name.startswith("redis-")]) == 6
    assert "--cluster-replicas 1" in services["cluster"]["command"][-1]
    for host in hosts:
        asked = config(f"compose: {host}", tmp_path)
        assert asked.workers == 4
        nodes = re.findall(r"(redis-\d):6379", asked.redis or "")
        assert set(nodes) == {"redis-1", "redis-2", "redis-3"}, "the client asks one of them for the others"
        # One hash tag, or the four names would lie on different nodes.
        names = (asked.task_set, asked.task_prefix, asked.new_queue, asked.end_queue)
        assert {re.findall(r"^\{(\w+)\}", name)[0] for name in names} == {"pytask"}


def test_all_services_of_the_example_come_back_after_their_host_did() -> None:
    lasting = {name: service for name, service in COMPOSE["services"].items() if name != "cluster"}
    assert {service["restart"] for service in lasting.values()} == {"unless-stopped"}


def test_whoever_stops_it_waits_for_longer_than_the_graceful_timeout(tmp_path: Path) -> None:
    grace = {
        "kubernetes": POD["terminationGracePeriodSeconds"],
        "systemd": int(unit_value("TimeoutStopSec")),
    }
    for name, service in COMPOSE["services"].items():
        if service.get("image") == "pytask":
            grace[f"compose: {name}"] = int(service["stop_grace_period"].removesuffix("s"))
    assert len(grace) == 5
    for where, seconds in grace.items():
        assert seconds >= config(where, tmp_path).graceful_timeout + 5, where


def test_the_image_runs_it_as_process_1_and_not_as_root() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["pytask-supervisor"]
    assert instruction("STOPSIGNAL") == "SIGTERM"
    assert int(instruction("USER")) > 0
    assert all("slim" in rest for word, rest in dockerfile() if word == "FROM")
    code = json.loads(re.split(r"\bCMD\s+", instruction("HEALTHCHECK"))[1])[2]
    ast.parse(code)
    assert f":{image_environment()['PYTASK_METRICS_PORT']}/healthz" in code


def test_probes_ask_the_port_that_is_served_and_liveness_does_not_depend_on_redis() -> None:
    (port,) = CONTAINER["ports"]
    assert port["containerPort"] == int(image_environment()["PYTASK_METRICS_PORT"])
    assert CONTAINER["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert CONTAINER["livenessProbe"]["tcpSocket"] == {"port": port["name"]}


def test_the_parts_of_the_manifest_speak_of_each_other() -> None:
    labels = KUBERNETES["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        KUBERNETES["Deployment"]["spec"]["selector"],
        KUBERNETES["PodDisruptionBudget"]["spec"]["selector"],
        POD["topologySpreadConstraints"][0]["labelSelector"],
    ):
        assert selector["matchLabels"] == labels
    target = KUBERNETES["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == KUBERNETES["Deployment"]["metadata"]["name"]
    assert POD["securityContext"]["runAsUser"] == int(instruction("USER"))
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == {volume["name"] for volume in POD["volumes"]}


def test_every_setting_of_the_unit_is_explained() -> None:
    lines = (DEPLOY / "pytask-supervisor.service").read_text().splitlines()
    same_reason = {"After", "StartLimitBurst", "Group", "Documentation", "Description", "ExecStart"}
    for before, line in itertools.pairwise(lines):
        key = line.partition("=")[0]
        assert not re.match(r"\w+=", line) or key in same_reason or before.startswith("#"), line


def test_the_units_exit_codes_are_ours() -> None:
    assert unit_value("RestartPreventExitStatus") == f"{Exit.USAGE:d} {Exit.LOAD:d}"
    text = (DEPLOY / "pytask-supervisor.service").read_text()
    for code in (Exit.REFUSED, Exit.CRASH_LOOP, Exit.KILLED):
        assert f"({code:d})" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "pytask-supervisor.service").read_text()
    copy = tmp_path / "pytask-supervisor.service"
    # It wants the program to be there.
    copy.write_text(text.replace("/opt/pytask/bin/pytask-supervisor", sys.executable))
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "notice"}
    words = ["systemd-analyze", "verify", "--man=no", str(copy)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    ours = [line for line in done.stderr.splitlines() if "pytask-supervisor.service" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_the_unit_gives_tasks_none_of_root_s_powers(tmp_path: Path) -> None:
    """Before these lines systemd called it EXPOSED, with 8.5 of 10."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze on this machine: apt-get install systemd")
    copy = tmp_path / "pytask-supervisor.service"
    shutil.copy(DEPLOY / "pytask-supervisor.service", copy)
    words = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=25", str(copy)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK" in done.stdout.splitlines()[-1]


def test_no_container_of_the_example_has_root_s_powers_or_an_image_to_write_to() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert service.get("user") == "999:999" or service["image"] == "pytask", name


def test_the_nodes_of_the_example_ask_for_the_password_and_show_it_to_nobody(tmp_path: Path) -> None:
    sh, dash_c, script = COMPOSE["services"]["redis-1"]["command"]
    port, password = free_port(), "a1b2c3d4e5f6"
    script = script.replace("$$", "$").replace("valkey-server", server_binary(), 1)
    script = script.replace("/etc/redis.conf", str(DEPLOY / "redis.conf"))
    script = script.replace(
        "/data", f"{tmp_path} --port {port} --cluster-port {free_port()}"
    )  # its own choice may lie beyond 65535
    with subprocess.Popen(
        [sh, dash_c, script], env={**os.environ, "PASSWORD": password}, stdout=subprocess.PIPE
    ) as server:
        try:
            with redis.Redis(port=port, decode_responses=True, password=password, **client_options()) as client:
                wait_until(lambda: server.poll() is not None or answers(client), 15)
                assert server.poll() is None, server.stdout and server.stdout.read()
                assert client.config_get("primaryauth") == {"primaryauth": password}
                assert client.config_get("appendonly") == {"appendonly": "yes"}
            # It is what was started, and gets the signals.
            shown = Path(f"/proc/{server.pid}/cmdline").read_bytes()
            assert b"valkey-server" in shown
            assert password.encode() not in shown
            with (
                redis.Redis(port=port, **client_options()) as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()
        finally:
            server.kill()


def test_the_source_package_and_the_context_of_the_image_have_what_they_need_and_no_more() -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
    packed = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    tracked = {path.partition("/")[0] for path in _tracked()}
    assert tracked - set(packed) <= {".gitignore", "pyproject.toml"}  # which hatchling takes by itself
    ignored = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert kept == {"pyproject.toml", "README.rst", "LICENSE", "pytask_core", "pytask_supervisor", "deploy/tasks.py"}


def _tracked() -> list[str]:
    words = ["git", "-C", str(DEPLOY.parent), "ls-files"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no clone: what belongs to it is not known")
    return done.stdout.splitlines()


def test_a_real_server_takes_the_configuration_and_keeps_what_matters(tmp_path: Path) -> None:
    port = free_port()
    words = [server_binary(), str(DEPLOY / "redis.conf"), "--port", str(port), "--dir", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            with redis.Redis(port=port, decode_responses=True, **client_options()) as client:
                wait_until(lambda: server.poll() is not None or answers(client), 15)
                assert server.poll() is None, server.stdout and server.stdout.read()
                said = client.config_get("*")
                for line in (DEPLOY / "redis.conf").read_text().splitlines():
                    if line and not line.startswith("#"):
                        name, value = line.split(" ", 1)
                        assert is_set(name, value, said), line
        finally:
            server.kill()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def is_set(name: str, value: str, said: Mapping[str, str]) -> bool:
    if name == "client-output-buffer-limit":
        kind, hard, soft, seconds = value.split()
        sizes = [str(int(size.removesuffix("mb")) * 2**20) for size in (hard, soft)]
        return f"{kind} {' '.join(sizes)} {seconds}" in said[name]
    return said[name] == value.strip('"')
