"""``MetricsPort``: ``/metrics`` and ``/healthz`` by HTTP, in the master's own loop.

No thread, since the master forks, and a fork copies whatever lock a thread holds just then; no
process of its own, since that would have to be watched, and fed with the figures.
"""

from __future__ import annotations

import errno
import http
import ipaddress
import socket
import time
from collections.abc import Callable

from pytask_supervisor.admin.health import health
from pytask_supervisor.admin.server import RequestServer
from pytask_supervisor.master.commands import Commands

#: Bytes of a request with its headers. A proxy adds some; no client needs more.
LONGEST = 16_384
PLAIN = "text/plain; charset=utf-8"
#: The one other format, and what of it we are asked for.
OPENMETRICS = "application/openmetrics-text"
#: Seconds for which a page is given again: workers tell no more often, and writing it costs the
#: master a millisecond for each task name.
KEPT = 1.0

#: Status, content type and body.
Page = tuple[http.HTTPStatus, str, bytes]
#: The metrics as the reader wants them: the header ``Accept`` to body and content type.
Render = Callable[[str], tuple[bytes, str]]


def open_port(host: str, port: int) -> socket.socket:
    """Listen there; 0: at any port that is free. Raises ``OSError`` whose text is a sentence."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        in_use = " (is another supervisor running?)" if error.errno == errno.EADDRINUSE else ""
        raise OSError(f"cannot listen for metrics at {host} port {port}: {error.strerror}{in_use}") from error


class MetricsPort:
    """``listener`` is from ``open_port``."""

    def __init__(
        self,
        listener: socket.socket,
        commands: Commands,
        render: Render,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        #: Only programs of this machine can connect, a browser among them, which a page can have ask us under a name of
        #: its own that it lets lead here.
        self._is_local = ipaddress.ip_address(host.partition("%")[0]).is_loopback
        self._commands = commands
        self._render = render
        self._clock = clock
        #: By format: when it was written, and the page.
        self._written: dict[str, tuple[float, Page]] = {}
        too_long = _response(_told(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), with_body=True)
        self.server = RequestServer(listener, self._answer, too_long, longest=LONGEST, clock=clock)

    def _answer(self, received: bytes) -> bytes | None:
        head, blank, _ = received.replace(b"\r\n", b"\n").partition(b"\n\n")
        if not blank:
            return None
        first, *lines = head.decode("latin-1").split("\n")
        method, _, rest = first.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1."):
            return _response(_told(http.HTTPStatus.BAD_REQUEST), with_body=True)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if self._is_local and not _is_of_this_machine(headers.get("host", "")):
            return _response(_told(http.HTTPStatus.MISDIRECTED_REQUEST), with_body=True)
        if method not in ("GET", "HEAD"):
            return _response(_told(http.HTTPStatus.METHOD_NOT_ALLOWED), "Allow: GET, HEAD", with_body=True)
        page = self._page(target.partition("?")[0], headers.get("accept", ""))
        return _response(page, with_body=method == "GET")

    def _page(self, path: str, accept: str) -> Page:
        if path == "/metrics":
            return self._metrics(f"{OPENMETRICS}; version=1.0.0" if OPENMETRICS in accept else "")
        if path == "/healthz":
            is_well, words = health(self._commands.slot_reports, self._clock(), is_quiet=self._commands.is_quiet)
            status = http.HTTPStatus.OK if is_well else http.HTTPStatus.SERVICE_UNAVAILABLE
            return status, PLAIN, words.encode() + b"\n"
        return http.HTTPStatus.NOT_FOUND, PLAIN, b"there are /metrics and /healthz\n"

    def _metrics(self, accept: str) -> Page:
        written, page = self._written.get(accept, (0.0, None))
        if page is None or self._clock() - written >= KEPT:
            body, content_type = self._render(accept)
            page = http.HTTPStatus.OK, content_type, body
            self._written[accept] = self._clock(), page
        return page


def _is_of_this_machine(host: str) -> bool:
    """Whether the header ``Host`` is an address or a name that leads here and nowhere else; it may be missing."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() in {"", "localhost", socket.gethostname().lower()} or name.lower().endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _told(status: http.HTTPStatus) -> Page:
    return status, PLAIN, f"{status.phrase}\n".encode()


def _response(page: Page, *more: str, with_body: bool) -> bytes:
    status, content_type, body = page
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body if with_body else b"")
