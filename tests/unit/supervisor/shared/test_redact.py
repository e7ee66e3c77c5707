"""Passwords are left out of whatever is shown."""

from __future__ import annotations

import time

import pytest

from pytask_supervisor.shared.redact import redact, shown_url, shown_words
from pytask_supervisor.shared.shown import cut


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:pw@host:1/0", "redis://:***@host:1/0"),
        ("rediss://me:pw@host", "rediss://me:***@host"),
        ("to redis+cluster://:p@w:d@h:1,h:2 and on", "to redis+cluster://:***@h:1,h:2 and on"),
        ("('redis://u:p@h', 'redis://u:q@i')", "('redis://u:***@h', 'redis://u:***@i')"),
        ("unix:///x.sock?password=pw&db=1", "unix:///x.sock?password=***&db=1"),
        ("redis://me:p/w?d#@host:1/0", "redis://me:***@host:1/0"),
        ("redis://me:p%40w@host:1/0", "redis://me:***@host:1/0"),
        ("rediss://h:1/0?ssl_keyfile=k&ssl_password=p%26w", "rediss://h:1/0?ssl_keyfile=k&ssl_password=***"),
        (
            "redis+sentinel://u:p@h:1,h:2/s?sentinel_password=q",
            "redis+sentinel://u:***@h:1,h:2/s?sentinel_password=***",
        ),
        ("redis+cluster://h:1,h:2?ssl_ca_certs=/a@b", "redis+cluster://h:1,h:2?ssl_ca_certs=/a@b"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("see http://host:80/a@b", "see http://host:80/a@b"),
        ("mail me: a:b@c", "mail me: a:b@c"),
    ],
)
def test_passwords_in_urls_are_left_out(text: str, shown: str) -> None:
    assert redact(text) == shown


#: As a person may type one, though some of it should have been escaped.
PASSWORDS = [
    "S3'CRET",
    'S3"CRET',
    "S3 CRET",
    "1,S3CRET",
    "1/S3CRET",
    "6379/0,S3CRET",
    "S3@CRET",
    "S3#CRET?x=y",
    "S3:CRET",
    "S3://CRET",
    "p ://S3://CRET",
    "1://S3CRET",
]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "form", ["redis://:{}@h:1/0", "rediss+cluster://me:{}@h:1,i:2", "redis+sentinel://h:1/s?sentinel_password={}"]
)
def test_a_password_of_any_shape_is_left_out_of_a_url_and_of_the_text_around_it(form: str, password: str) -> None:
    if "?" in form:
        password = password.partition("#")[0]
    url = form.format(password)
    for shown in (
        shown_url(url),
        redact(url),
        redact(f"no way to {url} at all"),
        " ".join(shown_words(["--redis", url])),
    ):
        assert "S3" not in shown
        assert "CRET" not in shown
        assert "***" in shown
    assert shown_url(url).startswith(form.partition("{")[0])


@pytest.mark.parametrize(
    "text", ["http://:pw@host", "pw@host", ":pw@host:1", "re dis://:pw@h", "pw", "x" * 40 + "://pw@h", "redis:/:pw@h"]
)
def test_what_cannot_be_taken_apart_as_a_url_is_not_shown_at_all(text: str) -> None:
    assert shown_url(text) == "***"
    assert shown_words(["ctl", "--redis", text, f"--redis={text}"]) == ["ctl", "--redis", "***", "--redis=***"]
    assert shown_words(["--redi", text, f"--red={text}"]) == ["--redi", "***", "--red=***"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://:S3CRET",
        "redis://me:S3CRET",
        "redis+cluster://h:1,me:S3CRET",
        "redis://h:1?p%61ssword=S3CRET",
        "redis://h:1?pass=S3CRET",
        "redis://h:1?passwd=S3CRET",
        "redis://h:1?password=a&S3CRET",
        "redis://h:1?db=1;password=S3CRET",
        "redis://h:1#password=S3CRET",
        "redis://h:1?db=b://S3CRET@c",
        "unix:///x.sock?db=1;password=S3CRET",
    ],
)
def test_a_url_that_was_typed_wrong_shows_no_more_of_its_password(url: str) -> None:
    """All were shown in full: the ``@`` was forgotten, the option misspelt, or ``&`` not escaped."""
    for shown in (shown_url(url), redact(url), redact(f"Error 111 connecting to {url}. refused"), redact(repr(url))):
        assert "S3CRET" not in shown
        assert "***" in shown
    assert redact(f"no way to redis://S3CRET@h:1 at x@y: {url}").count("S3CRET") == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<Connection(host=h,password=S3CRET,db=0)>", "<Connection(host=h,password=***"),
        ("connect(access_token=S3CRET x=1)", "connect(access_token=*** x=1)"),
        ("see https://S3CRET@h/x", "see https://***@h/x"),
        ("GET http://h/x?api_key=S3CRET&n=1 HTTP", "GET http://h/x?api_key=***&n=1 HTTP"),
        ("x=1 password= y", "x=1 password= y"),
        ("Redis at redis://h:1. It is away", "Redis at redis://h:1. It is away"),
        ("('redis://[::1]:1/0', x@y)", "('redis://[:***@y)"),
        ("no way to redis://[::1]:1/0: refused", "no way to redis://[::1]:1/0: refused"),
    ],
)
def test_passwords_outside_of_urls_of_ours_are_left_out_too(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("password", ["a" * 90 + "@S3CRET", "a" * 95 + "://S3CRET", "a" * 400 + "@@S3CRET"])
@pytest.mark.parametrize("before", ["", "x" * 20, "x" * 120, "x" * 127, "x" * 150, "x" * 300])
def test_a_password_is_not_shown_where_a_text_is_cut_in_the_middle_of_it(before: str, password: str) -> None:
    for url in (f"redis://:{password}@h:1", f"redis://h:1?db=1&password={password}"):
        for length in range(40):
            assert "CRET" not in redact(cut(before + url + "y" * length, 200))


@pytest.mark.parametrize(
    "url", ["embedded", "embedded:/srv/a@b", "embedded-cluster", "unix:///srv/a@b/x.sock", "redis://h"]
)
def test_what_has_no_password_is_shown_as_it_is(url: str) -> None:
    assert shown_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "{a.}://",
        "{a://b:}",
        "{x-}://x@",
        "redis://{:a@}",
        "redis://h?{&password=a}",
        "{://}",
        "http://{a:}@",
        "h://h:1?{a=b}@",
        "{redis://x?password=&}",
        "{redis://u:p q}",
        "{redis://a@}",
        "{password=}",
    ],
)
def test_the_time_to_look_for_passwords_grows_with_the_text_and_no_faster(text: str) -> None:
    """An id of 120 KB held a worker for half a minute, so that it was killed with all its tasks."""
    front, _, rest = text.partition("{")
    again, _, behind = rest.partition("}")
    began = time.process_time()
    redact(front + again * (1_000_000 // len(again)) + behind)
    assert time.process_time() - began < 3
