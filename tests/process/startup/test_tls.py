"""What a supervisor says and shows of a server with TLS."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.process.startup.test_boot import run_to_end, title
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.tls import PASSWORD, Authority, TlsServer, require_program

SECRETS = (PASSWORD, quote(PASSWORD, safe=""), "hunter")


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    require_program()
    return Authority(tmp_path_factory.mktemp("certificates"))


def test_a_certificate_that_cannot_be_trusted_is_one_line_and_exit_code_4(folder: Path, authority: Authority) -> None:
    with TlsServer(authority) as server:
        url = server.url_with(ssl_ca_certs=authority.stranger)
        code, text = run_to_end(folder, "--workers", "2", "--app", "jobs:app", "--redis", url)

    assert code == 4
    assert text.count("\n") == 2
    assert "refuses us" in text
    assert "ssl_ca_certs" in text
    assert not [secret for secret in SECRETS if secret in text]


def test_a_password_that_is_escaped_in_the_url_is_never_shown(folder: Path, authority: Authority) -> None:
    with TlsServer(authority) as server:
        words = ["--workers", "1", "--app", "jobs:app", "--redis", server.url, "--log-level", "debug"]
        with SupervisorProcess(folder, *words) as supervisor:
            supervisor.wait_ready(1)
            titles = [title(pid) for pid in (supervisor.pid, *supervisor.children())]
            server.kill()
            supervisor.wait_for("is away", 1)
            server.close_clients()
            server.start()
            assert supervisor.stop() == 0
            assert not [secret for secret in SECRETS if secret in supervisor.text + "".join(titles)]
