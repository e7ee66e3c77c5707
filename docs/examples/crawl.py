"""A site crawler: one task a page, its id the page's URL. Start it with the task ``crawl/site``.

Each page is visited once, and none is lost, whatever dies on the way:

- The page that finds a link first enters it in the hash ``crawl:ID:found`` under its own id (``HSETNX``), and from
  then on it alone starts it. So no two pages start the same link.
- It starts only links whose task does not exist yet, and ends after all of them are started. If its worker dies
  before that, it runs again, finds its own entries, and starts what is missing.
- Ended pages are kept (``cleanup=False``), so a page that was visited still exists.

Crawl one site by one ``crawl/site`` at a time: page ids are URLs, so two of them would share the pages.
"""

from gevent import monkey

monkey.patch_all()

import http.client
import json
import logging
from functools import cache
from html.parser import HTMLParser
from http import HTTPStatus
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.robotparser import RobotFileParser

import gevent
import redis
from gevent.lock import BoundedSemaphore

from pytask_core import Cleanup, Monitor, PyTask, Task, run_loop

AGENT = "pytask-crawl-example"
#: Seconds without a byte after which a page has failed. Longer bears slow servers, shorter frees the place sooner.
TIMEOUT = 10
#: How often a page is tried where the server cannot be reached or fails (5xx), with a pause of 1, 2, … s between.
TRIES = 3
#: Bytes read of one page. More follows the links at the end of huge pages, less bounds the memory.
MOST_BYTES = 8 * 1024 * 1024
HTML = ("text/html", "application/xhtml+xml")
#: Pages at once in one worker. More is faster, fewer spares the site.
PAGES_AT_ONCE = 8

log = logging.getLogger("crawl")


class Site(Task):
    """Crawls a site, and emits figures each second for as long as it runs."""

    NAME = "crawl/site"

    def __init__(self, url):
        self.url = canonical(url)
        if self.url is None:
            raise self.Error(f"{url!r} is no http or https URL")
        self.crawl = Crawl(self.id, self.url.rpartition("/")[0] + "/", self.redis, self.helpers)
        self.done = 0

    def start(self):
        patiently(self.crawl.follow, [self.url], self.id)
        self.done = patiently(self.crawl.figures)["done"]
        run_loop(self.tell, 1)

    def tell(self):
        figures = patiently(self.crawl.figures)
        figures["left"] = figures["found"] - figures["done"] - figures["errors"]
        figures["pages/s"] = figures["done"] - self.done
        self.done = figures["done"]
        self.emit("figures", figures)
        if figures["pages/s"]:
            log.info("%s: %s", self.id, figures)


class Page(Task):
    """Visits one page and starts the pages that it links to. Its id is the URL."""

    NAME = "crawl/page"

    def __init__(self, crawl, scope):
        self.crawl = Crawl(crawl, scope, self.redis, self.helpers)

    def start(self):
        try:
            output, links = self.visit()
        except (OSError, http.client.HTTPException, self.Error) as error:
            patiently(self.crawl.count, "errors", self.id)
            raise self.Error(f"{self.id}: {error or type(error).__name__}") from error
        patiently(self.crawl.follow, links, self.id)
        patiently(self.crawl.count, "done", self.id)
        return output

    def visit(self):
        with one_at_a_time:
            rules = robots(urljoin(self.id, "/robots.txt"))
        if not rules.can_fetch(AGENT, self.id):
            raise self.Error("robots.txt does not allow it")
        status, headers, body = fetch(self.id)
        if status >= HTTPStatus.BAD_REQUEST:
            raise self.Error(f"{status} {http.client.responses.get(status, '')}".strip())
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            # Where it leads to is a page of its own.
            title, hrefs = None, [headers.get("Location", "")]
        else:
            title, hrefs = parse(body, headers.get_content_charset("utf-8"))
        urls = (canonical(href, self.id) for href in hrefs)
        links = list(dict.fromkeys(url for url in urls if url and url.startswith(self.crawl.scope)))
        return {"status": status, "title": title, "links": len(links)}, links


class Crawl:
    """What the pages of one crawl share, in Redis: who found which page, and how far it got."""

    def __init__(self, crawl_id, scope, redis, helpers):
        self.id = crawl_id
        self.scope = scope
        self.redis = redis
        self.helpers = helpers
        self.data = {"crawl": crawl_id, "scope": scope}

    def key(self, name):
        return f"crawl:{self.id}:{name}"

    def follow(self, urls, finder):
        """Start those of the pages that ``finder`` has found first. Safe to repeat."""
        pipe = self.redis.pipeline(transaction=False)
        for url in urls:
            pipe.hsetnx(self.key("found"), url, finder)
            pipe.hget(self.key("found"), url)
        finders = [text(value) for value in pipe.execute()[1::2]]
        mine = [url for url, found_by in zip(urls, finders, strict=True) if found_by == finder]
        # A page that another crawl has left behind is visited anew; it has other data.
        started = [row and json.loads(row[0] or "null") == self.data for row in self.helpers.get_tasks(mine, ["data"])]
        missing = [url for url, is_started in zip(mine, started, strict=True) if not is_started]
        self.helpers.start_tasks(((Page.NAME, self.data, url) for url in missing), cleanup=False)

    def count(self, what, url):
        """Note that a page is done, or an error. A set, so that a page that runs again counts once."""
        self.redis.sadd(self.key(what), url)

    def figures(self):
        """How many pages are found, done, and errors."""
        pipe = self.redis.pipeline(transaction=False)
        pipe.hlen(self.key("found"))
        pipe.scard(self.key("done"))
        pipe.scard(self.key("errors"))
        return dict(zip(("found", "done", "errors"), pipe.execute(), strict=True))


def patiently(function, *args):
    """Call it until Redis answers. Where that takes too long, the worker stops this task and queues it again."""
    while True:
        try:
            return function(*args)
        except (redis.ConnectionError, redis.TimeoutError):
            gevent.sleep(1)


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def canonical(link, base=""):
    """The one way to write the URL of a link, without its fragment; None where it leads to no web page."""
    try:
        parts = urlsplit(urljoin(base, link.strip()))
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        host += f":{port}"
    path = "/".join(
        quote(unquote(part, errors="surrogateescape"), safe="!$&'()*+,;=:@", errors="surrogateescape")
        for part in (parts.path or "/").split("/")
    )
    query = "?" + quote(parts.query, safe="%/?:@!$&'()*+,;=[]") if parts.query else ""
    return f"{parts.scheme}://{host}{path}{query}"


def fetch(url):
    """GET a page: status, headers, and the body if it is HTML. Redirects are not followed."""
    for pause in range(1, TRIES):
        try:
            status, headers, body = fetch_once(url, HTML)
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return status, headers, body
        except (OSError, http.client.HTTPException):
            log.debug("%s: try %d failed", url, pause, exc_info=True)
        gevent.sleep(pause)
    return fetch_once(url, HTML)


def fetch_once(url, types):
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT)
    try:
        connection.request("GET", parts._replace(scheme="", netloc="").geturl(), headers={"User-Agent": AGENT})
        response = connection.getresponse()
        is_wanted = response.status == HTTPStatus.OK and response.headers.get_content_type() in types
        return response.status, response.headers, response.read(MOST_BYTES) if is_wanted else b""
    finally:
        connection.close()


one_at_a_time = BoundedSemaphore()


@cache
def robots(url):
    """The rules of a site, read once a worker. Where there are none, everything is allowed."""
    rules = RobotFileParser()
    try:
        body = fetch_once(url, ("text/plain",))[2]
    except (OSError, http.client.HTTPException):
        body = b""
    rules.parse(body.decode("utf-8", "replace").splitlines())
    return rules


class LinkParser(HTMLParser):
    """Collects the title and the links."""

    def __init__(self):
        super().__init__()
        self.links = []
        self.title = None
        self.in_title = False

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value is not None]
        self.in_title = tag == "title" and self.title is None

    def handle_endtag(self, tag):
        if tag == "title":
            self.in_title = False

    def handle_data(self, data):
        if self.in_title:
            self.title = (self.title or "") + data


def parse(body, charset):
    """The title and the links of a page; gives way to other tasks, since a long page takes a while."""
    try:
        page = body.decode(charset, "replace")
    except LookupError:
        page = body.decode("utf-8", "replace")
    parser = LinkParser()
    for start in range(0, len(page), 65536):
        parser.feed(page[start : start + 65536])
        gevent.sleep(0)
    # Long pages have thousands of links to a few pages.
    links = dict.fromkeys(link.partition("#")[0] for link in parser.links)
    return " ".join((parser.title or "").split()) or None, list(links)


app = PyTask(concurrency=PAGES_AT_ONCE)
app.add_tasks(Site, Page, Monitor, Cleanup)
app.start_local_task("pytask/monitor")
# Removes the crawls an hour after their end; pages stay.
app.start_local_task("pytask/cleanup", retention=3600)

if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    app.run()
