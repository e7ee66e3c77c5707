"""Redis URLs: the core and the supervisor take and refuse the same ones, in the same words."""

from __future__ import annotations

import pytest

from pytask_core import PyTaskException
from pytask_core.connection import RedisSource
from pytask_core.redis_url import SENTINEL_PORT, parse
from pytask_supervisor.config import types


def test_a_url_is_taken_apart_as_it_stands() -> None:
    url = parse(" valkeys+sentinel://me:a%40b@a,[::1]:2/main/3?db=4 ")
    assert (url.scheme, url.kind, url.credentials) == ("rediss+sentinel", "sentinel", "me:a%40b")
    assert url.addresses == (("a", SENTINEL_PORT), ("::1", 2))
    assert (url.path, url.query) == ("/main/3", "db=4")
    assert url.text == "rediss+sentinel://me:a%40b@a,[::1]:2/main/3?db=4"
    assert "a%40b" not in repr(url)


def test_a_url_of_an_embedded_server_names_its_folder() -> None:
    assert parse("embedded").directory is None
    assert parse("embedded-cluster:/srv/data").directory == "/srv/data"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:6379", "must be redis://HOST:PORT/DB, "),
        ("redis:/hunter2", "must be redis://HOST:PORT/DB, "),
        ("redis://:hunter2\x1b@h", "must not have a line break or another control character"),
        ("redis://h:65536", "must name the server as HOST or HOST:PORT, with a port up to 65535"),
        ("redis://:hunter2/x@h", "must name the server as HOST or HOST:PORT, "),
        ("redis+cluster://a:1,b", "must name server 2 as HOST:PORT, with a port up to 65535"),
        ("redis+cluster://a:1,:2", "must name server 2 as HOST:PORT, "),
        ("redis+cluster://a:1/3", "must end with the hosts: a cluster has one database only"),
        ("redis+sentinel://a:1", "must end with the name of the service, as in redis+sentinel://HOST:PORT"),
    ],
)
def test_a_wrong_url_is_refused_in_the_same_words_and_never_shown(url: str, words: str) -> None:
    with pytest.raises(ValueError, match="must ") as told:
        types.redis_url(url)
    assert str(told.value).startswith(words)
    with pytest.raises(PyTaskException, match="the Redis URL must ") as told_by_the_core:
        RedisSource(url)
    assert str(told_by_the_core.value) == f"the Redis URL {told.value}"
    assert "hunter2" not in str(told.value)
