"""What a client's error means: an outage that passes, a refusal that stays, or something else."""

from __future__ import annotations

import errno
import re
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - the library's name
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the library's name
)

from ..errors import RedisRefused
from .cluster import is_client as is_cluster

#: Errors in one chain of causes.
MOST_CAUSES = 8

#: The oldest server whose commands suffice (BLMOVE, LPOS, RPOP with a count).
OLDEST_SERVER = (6, 2)

#: What a server says while it cannot serve us, and may be able to soon.
_PASSING = {
    "LOADING": "it is still loading its data",
    "READONLY": "it is a replica and takes no writes; its master may just have changed",
    "OOM": "it has no memory left (maxmemory)",
    "MISCONF": "it cannot save to disk and refuses writes",
    "BUSY": "it is busy with a script",
    "CLUSTERDOWN": "the cluster is down",
    "MASTERDOWN": "its link to the master is down",
    "TRYAGAIN": "the cluster is moving slots",
    "UNBLOCKED": "it has just become a replica, or the other way round",
    "NOAUTH": "it wants a password that we do not have",
    "WRONGPASS": "it no longer accepts our password",
    "NOREPLICAS": "too few replicas follow it (min-replicas-to-write), so it refuses writes",
    "NOPERM": "it does not let us use a command, key or channel",
}

#: Those that may stand in the middle of a text.
_WORD = re.compile(r"\b(OOM|READONLY|MISCONF|NOREPLICAS|NOPERM|UNBLOCKED|BUSY|CLUSTERDOWN|MASTERDOWN|TRYAGAIN)\b")

#: What a server says, instead of NOPERM, of a right that a script lacks.
_DENIED_IN_SCRIPT = re.compile(r"ACL failure in script|The user executing the script can't")

#: Which right is missing, by the words of the server.
_RIGHTS = (
    (re.compile(r"run the '([^']+)' command"), r"+\1"),
    (re.compile(r"channel"), "&*"),
    (re.compile(r"keys? "), "~*"),
)

#: The same by the names of the errors in client libraries that do not keep the server's word.
_PASSING_ERRORS = {
    "ReadOnlyError": "READONLY",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "TryAgainError": "TRYAGAIN",
    "NoPermissionError": "NOPERM",
}

#: What a cluster client says when it cannot reach a node, or the nodes do not know which of them has a slot.
_NO_CLUSTER = re.compile(r"cannot be connected|not covered|could not agree|TTL exhausted|Too many Cluster redirections")

#: What TLS says when one side does not trust the other. Waiting does not help.
_DISTRUST = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|certificate required|CERTIFICATE_REQUIRED|unknown ca|UNKNOWN_CA|bad certificate"
    r"|BAD_CERTIFICATE|certificate (?:expired|revoked|unknown)|CERTIFICATE_(?:EXPIRED|REVOKED|UNKNOWN)"
)


#: What is wrong and what to do when a client for one server has met a node of a cluster.
_OF_A_CLUSTER = (
    "is a node of a cluster: name it as redis+cluster://HOST:PORT, or pass a list of several nodes or a client for "
    "clusters"
)


#: Where in a script of ours it was, which tells users nothing, and after a URL looks like the end of a password.
_PLACE_IN_SCRIPT = re.compile(r"\s*\bscript: (?:[0-9a-f]{40},? ?)?on @user_script:\d+")


def _text(error: BaseException) -> str:
    return _PLACE_IN_SCRIPT.sub("", str(error))


def misplaced(error: BaseException) -> str | None:
    """Say that a client for one server has met a node of a cluster; None for any other error."""
    words = {"MOVED", "ASK", "CROSSSLOT"} & set(str(error).split()[:1])
    kinds = {"MovedError", "AskError", "ClusterCrossSlotError"} & {type(error).__name__}
    return _OF_A_CLUSTER if words or kinds else None


def outage(error: BaseException) -> str | None:
    """Say why Redis cannot serve us now; None for any other error."""
    text = _text(error).rstrip(".")  # A sentence goes on after it.
    if isinstance(error, BusyLoadingError):
        return _PASSING["LOADING"]
    if isinstance(error, AuthenticationError):
        return f"it does not let us in ({text})"
    if isinstance(error, ResponseError):
        code = _code(error, text)
        return f"{_PASSING[code]} ({text}){_remedy(error)}" if code in _PASSING else None
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        remedy = (
            ": it takes no more connections (maxclients); raise that, or run fewer workers" if is_full(error) else ""
        )
        return (text or type(error).__name__) + remedy
    # The errors of cluster clients do not share a base class with the others.
    if type(error).__module__.startswith(("redis.", "rediscluster.")) and _NO_CLUSTER.search(text):
        return text
    return None


def is_full(error: BaseException) -> bool:
    """Whether the server does not take another connection; existing ones work."""
    return isinstance(error, ConnectionError) and "max number of clients" in str(error)


def shortage(error: BaseException | None) -> str | None:
    """Say what this machine lacks; None if the error is not on our side of the connection."""
    for _ in range(MOST_CAUSES):
        if error is None:
            break
        if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
            whose = "this process (ulimit -n)" if error.errno == errno.EMFILE else "this machine (fs.file-max)"
            return f"{whose} is out of file descriptors"
        error = error.__cause__ or error.__context__
    return None


def _code(error: ResponseError, text: str) -> str:
    code = getattr(error, "status_code", None) or _PASSING_ERRORS.get(type(error).__name__) or text.partition(" ")[0]
    if _DENIED_IN_SCRIPT.search(text):
        return "NOPERM"
    # In what a script or a pipeline failed of, the word does not come first.
    found = _WORD.search(text)
    return code if code in _PASSING else (found.group(1) if found else "")


def is_answer(error: BaseException) -> bool:
    """Whether Redis itself answered with this error."""
    return isinstance(error, (ResponseError, AuthenticationError, BusyLoadingError))


def denied(error: BaseException) -> bool:
    """Whether Redis does not permit us a command, a key or a channel."""
    return isinstance(error, ResponseError) and _code(error, str(error)) == "NOPERM"


def _remedy(error: ResponseError) -> str:
    """The rest of a sentence that says which right to give, if the server says which is missing."""
    if not denied(error):
        return ""
    for pattern, right in _RIGHTS:
        if found := pattern.search(str(error)):
            return f"; give its user the right {found.expand(right)}"
    return ""


def _is_unknown(error: BaseException) -> bool:
    """Whether the server lacks a command: it is too old, of another kind, or its administrator has renamed it."""
    return isinstance(error, ResponseError) and bool(re.search(r"unknown (?:sub|redis )?command", str(error), re.I))


def refusal(error: BaseException) -> str | None:
    """Say why Redis refuses us for good, or we refuse it; None for any other error."""
    text = _text(error).rstrip(".")
    refused = isinstance(error, AuthenticationError) or isinstance(error.__cause__, AuthenticationError)
    if isinstance(error, ResponseError) and denied(error):
        return f"{text}{_remedy(error) or '; check the user name, the password and what they permit'}"
    if refused or re.search(r"NOAUTH|NOPERM|WRONGPASS|no permission", text, re.I):
        return f"{text}; check the user name, the password and what they permit"
    if _is_unknown(error):
        return f"{text.rstrip(' :,')}: pytask needs all commands of Redis 6.2 or Valkey, under their names"
    if (words := misplaced(error)) is not None:
        return f"it {words}"
    if _DISTRUST.search(text):
        return f"{text}; check the certificates: ssl_ca_certs, ssl_certfile and ssl_keyfile"
    return None


def check_server(client: Any, where: str) -> list[str]:
    """Make sure that the server accepts us, and is new enough.

    Args:
        client: a store client.
        where: names the server in errors.

    Returns:
        Warnings for the log, a sentence each.

    Raises:
        RedisRefused: it is too old, or a node of a cluster and ``client`` is not for one.
        redis.RedisError: it cannot be reached, or does not serve us.
    """
    try:
        info = client.info("server")
    except ResponseError as error:
        # Its answer is only the version, which a worker does not need.
        if denied(error) or _is_unknown(error):
            return [f"{where} does not show its version; it must be Redis 6.2 or later, or Valkey: {error}"]
        raise
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        raise RedisRefused(f"{where} runs version {version}; pytask needs Redis 6.2 or later, or Valkey")
    if "cluster" in {info.get("server_mode"), info.get("redis_mode")} and not is_cluster(client):
        raise RedisRefused(f"{where} {_OF_A_CLUSTER}")
    try:
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    except RedisError:
        return []  # A hosted Redis may not let us look, and a worker can still run.
    if policy == "noeviction":
        return []
    warning = f"{where} has maxmemory-policy={policy}: when its memory is full it throws keys away, and tasks with them"
    return [f"{warning}; set it to noeviction"]
