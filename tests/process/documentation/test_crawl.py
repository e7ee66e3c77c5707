"""The crawler of ``docs/examples`` over real sites, with workers that are killed on the way.

What it visited is compared with what lies on disk, found by other means than the crawler's own.
"""

from __future__ import annotations

import html
import json
import os
import posixpath
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from pytask_core import PyTaskHelpers
from tests.support.processes.supervisor_process import SupervisorProcess
from tests.support.servers.redis_server import RedisServer
from tests.support.waiting import wait_until

PYTHON_DOC = Path("/usr/share/doc/python3-doc/html")
#: Seconds that a crawl may take on a machine that is busy with other things; alone it takes ten to twenty.
PATIENCE = 90
pytestmark = pytest.mark.timeout(300)

#: As in the example.
PAGES_AT_ONCE = 8
LINK = re.compile(r'<a\b[^>]*?\bhref="([^"]*)"', re.IGNORECASE)

#: A page as this test names it: the path on disk below the site's folder, and the query.
Place = tuple[str, str]


@dataclass
class Web:
    """A folder that ``python3 -m http.server`` serves."""

    folder: Path
    url: str
    log: Path

    def place(self, url: str) -> Place:
        """The page of an absolute URL."""
        parts = urlsplit(url)
        return unquote(parts.path.removeprefix("/")), unquote(parts.query)

    def links(self, place: Place) -> set[Place]:
        """The pages of this site that a file links to, read from disk."""
        file = self.folder / (place[0] or "index.html")
        if file.suffix != ".html" or not file.is_file():
            return set()
        found = set()
        for raw in LINK.findall(file.read_text("utf-8", errors="replace")):
            href = html.unescape(raw).strip()
            path, _, query = href.partition("#")[0].partition("?")
            if re.match(r"[a-z]+:", href, re.IGNORECASE):
                continue
            target = posixpath.normpath(posixpath.join("/", posixpath.dirname(place[0]), unquote(path)))[1:]
            found.add((target, unquote(query)) if path else (place[0], unquote(query) or place[1]))
        return found

    def reachable(self) -> tuple[set[Place], set[Place]]:
        """All pages that can be reached from the start: those that exist, and those that do not."""
        seen: set[Place] = {("", "")}
        waiting = list(seen)
        while waiting:
            new = self.links(waiting.pop()) - seen
            seen |= new
            waiting += new
        there = {place for place in seen if (self.folder / (place[0] or "index.html")).is_file()}
        return there, seen - there


@contextmanager
def serve(folder: Path, log: Path) -> Iterator[Web]:
    """Serve a folder on a free port of 127.0.0.1."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with log.open("wb") as requests:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=requests, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"port (\d+)", server.stdout.readline())
        assert found is not None
        yield Web(folder, f"http://127.0.0.1:{found[1]}/", log)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()  # type: ignore[union-attr] # it is a pipe


#: What a file's name may hold and a URL must not.
ODD = (
    "ü & ö",
    "50% off",
    "what?",
    "a#b",
    'say "hi"',
    "it's",
    "<b>",
    "{tag}",
    "a+b=c",
    "x,y;z",
    "~home",
    "[1]",
    "p|q",
    "back\\slash",
    "日本",
    "🐍",
    "a:b",
    "*",
    "dot.",
    "-control",
    "%41",
    "a\tb",
)


def build_site(folder: Path, pages: int) -> None:
    """A site with odd names, loops, many links to one page, broken links and links that lead away."""
    rand = random.Random(1)  # a test must find the same site each time
    names = [f"d{number % 7}/{ODD[number % len(ODD)]} {number}.html" for number in range(pages)]
    # Its event channel is the control channel of the page without the ending.
    names += ["d0/twin.html", "d0/twin.html-control"]
    for number, name in enumerate(names):
        targets = [names[number * 2 + 1 : number * 2 + 3], rand.sample(names, 5)]
        hrefs = ["../" + spelled(target, rand) for some in targets for target in some]
        hrefs += ["/", "../index.html", "#top", "", f"?page={number % 3}&lang=ü", "mailto:me@example.org"]
        hrefs += ["javascript:void(0)", "http://[broken/", "HTTP://127.0.0.1:1/elsewhere", "../../d0/../index.html"]
        if number % 100 == 0:
            hrefs.append(f"missing {number}.html")
        write_page(folder / name, f"Page {number} &amp; more", hrefs)
    write_page(folder / "index.html", "Start", [spelled(name, rand) for name in (names[0], *names[-2:])])


def spelled(name: str, rand: random.Random) -> str:
    """One of the ways in which people write the same link."""
    always = "/!$'()*,;=@~-._"
    return rand.choice(
        (
            quote(name),
            quote(name, safe=always),
            quote(name, safe=always + "".join(char for char in name if ord(char) > 127)),
            re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quote(name)),
        )
    )


def write_page(path: Path, title: str, hrefs: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    links = "\n".join(f'<p><A class="x" href="{html.escape(href)}">there</a>' for href in hrefs)
    path.write_text(f"<!doctype html><meta charset=utf-8><title>\n{title}\n</title><!-- <a href=no.html> -->{links}")


#: The crawler, in workers of which one dies right before and one right after it starts the links of a page.
#: (With a third death at once, the site itself would count as poison.)
DYING = """
import os
import signal

from docs.examples.crawl import app
from pytask_core.policy.poison import PoisonRule

# Four deaths within a second or two would convict the tasks that were only near.
app.poison = PoisonRule(max_deliveries=0)
start_tasks = app.helpers.start_tasks

def start_some(specs, cleanup):
    number = app.redis.incr("starts")
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    ids = start_tasks(specs, cleanup=cleanup)
    if number == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return ids

app.helpers.start_tasks = start_some
"""


@pytest.fixture
def odd_web(tmp_path: Path) -> Iterator[Web]:
    """A site of 500 pages whose names make trouble."""
    folder = tmp_path / "site"
    folder.mkdir()
    build_site(folder, 500)
    with serve(folder, tmp_path / "requests.log") as served:
        yield served


@pytest.fixture
def python_doc(tmp_path: Path) -> Iterator[Web]:
    """The documentation of Python, as Debian ships it."""
    if not PYTHON_DOC.is_dir():
        if os.environ.get("CI"):
            pytest.fail("python3-doc is not installed, and CI must have it")
        pytest.skip("python3-doc is not installed: apt-get install python3-doc")
    with serve(PYTHON_DOC, tmp_path / "requests.log") as served:
        yield served


class Crawling:
    """A crawl of a site by four workers."""

    def __init__(self, web: Web, server: RedisServer, folder: Path, app: str = "docs.examples.crawl:app") -> None:
        self.web = web
        self.client = server.client()
        self.helpers = PyTaskHelpers(self.client)
        self.supervisor = SupervisorProcess(folder, "--workers", "4", "--app", app, "--redis", server.url)
        self.supervisor.expected = ["ended as ERROR"]
        self.supervisor.wait_ready(4)
        self.helpers.start_task("crawl/site", task_id="site", url=web.url)

    def count(self, what: str) -> int:
        """How many pages are ``done`` or ``errors``."""
        return int(self.client.scard(f"crawl:site:{what}"))

    def busy_worker(self) -> int:
        """The process id of a worker that has a page in its hands, 0 if there is none."""
        for task in map(self.helpers.get_task, self.helpers.get_active_task_ids()):
            if task.get("task") == "crawl/page" and task.get("state") == "RUNNING":
                return int(task["owner"].split("-")[-2])
        return 0

    def wait_for_end(self) -> None:
        """Wait until nothing is left to do."""

        def is_over() -> bool:
            found = self.client.hlen("crawl:site:found")
            ended = self.count("done") + self.count("errors")
            return 0 < found == ended and not self.helpers.queue_lengths()["new"] and not self.busy_worker()

        wait_until(is_over, PATIENCE, "the end of the crawl")

    def check(self, kills: int) -> None:
        """Every page that can be reached was visited, and ended, and once unless its worker was killed."""
        ids = self.helpers.get_active_task_ids()
        pages = {i: task for i in ids if (task := self.helpers.get_task(i))["task"] == "crawl/page"}
        there, missing = self.web.reachable()
        assert len({path for path, _ in there}) >= 500
        for state, expected in (("SUCCESS", there), ("ERROR", missing)):
            ended = {self.web.place(i) for i, task in pages.items() if task["state"] == state}
            assert (ended - expected, expected - ended) == (set(), set()), f"{state}: too many, too few"
        assert len(pages) == len(there) + len(missing), "two ids for one page"
        assert (self.count("done"), self.count("errors")) == (len(there), len(missing))
        for task_id, task in pages.items():
            if task["state"] == "SUCCESS":
                check_output(self.web, task_id, json.loads(task["output"]))

        asked = re.findall(r'"GET (\S+) HTTP', self.web.log.read_text(errors="replace"))
        visits = Counter(path for path in asked if path != "/robots.txt")
        assert sum(visits.values()) <= len(pages) + kills * PAGES_AT_ONCE
        assert max(visits.values()) <= 1 + kills

    def __enter__(self) -> Crawling:
        self.supervisor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.helpers.close()
        self.supervisor.stop()
        self.supervisor.__exit__(kind, error, trace)


def check_output(web: Web, url: str, output: dict[str, object]) -> None:
    """Status, title and number of links are those of the file."""
    place = web.place(url)
    file = web.folder / (place[0] or "index.html")
    title = None
    if file.suffix == ".html":
        found = re.search(r"<title>(.*?)</title>", file.read_text(errors="replace"), re.DOTALL)
        title = found and " ".join(html.unescape(found[1]).split())
    assert output == {"status": 200, "title": title, "links": len(web.links(place))}, url


@pytest.mark.parametrize("site", ["odd_web", "python_doc"])
def test_every_page_is_visited_once_though_workers_are_killed(
    site: str, request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path
) -> None:
    with Crawling(request.getfixturevalue(site), redis_server, tmp_path) as crawling:
        for number in (1, 2):
            wait_until(lambda number=number: crawling.count("done") > number * 100, PATIENCE)
            os.kill(wait_until(crawling.busy_worker), signal.SIGKILL)
            crawling.supervisor.wait_for("was killed by SIGKILL", number)
        crawling.wait_for_end()
        crawling.check(kills=2)


def test_no_link_is_lost_where_a_worker_dies_as_it_starts_them(
    odd_web: Web, redis_server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    with Crawling(odd_web, redis_server, tmp_path, "dying:app") as crawling:
        crawling.wait_for_end()
        crawling.supervisor.wait_for("was killed by SIGKILL", 2)
        crawling.check(kills=2)


def test_figures_are_told_each_second_until_the_site_is_stopped(
    odd_web: Web, redis_server: RedisServer, tmp_path: Path
) -> None:
    with Crawling(odd_web, redis_server, tmp_path) as crawling, crawling.client.pubsub() as events:
        events.subscribe(crawling.helpers.task_key("site"))
        told: list[dict[str, Any]] = []

        def is_told() -> bool:
            while message := events.get_message(ignore_subscribe_messages=True):
                event = json.loads(message["data"])
                assert event["event"] == "figures"
                told.append(event["data"])
            return bool(told) and told[-1]["left"] == 0

        wait_until(is_told, PATIENCE, "the last figures")
        there, missing = odd_web.reachable()
        last = {"found": len(there) + len(missing), "done": len(there), "errors": len(missing), "left": 0}
        assert {name: told[-1][name] for name in last} == last
        assert sum(figures["pages/s"] for figures in told) <= len(there)
        assert crawling.helpers.stop_task("site")
        wait_until(lambda: crawling.helpers.get_task("site", "state") == "STOPPED")
