"""Dramatiq with greenlets, as ``dramatiq-gevent`` runs it."""

from __future__ import annotations

import time
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from tests.bench.apps.settings import CONNECTIONS, URL
from tests.bench.records import BEGIN, END, LATE, NOOP, note

broker = RedisBroker(url=f"{URL}?max_connections={CONNECTIONS}")
broker.add_middleware(Results(backend=RedisBackend(url=f"{URL}?max_connections={CONNECTIONS}")))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def noop(number):
    note(NOOP, number)
    return number


@dramatiq.actor(store_results=True)
def nap(number, seconds):
    note(BEGIN, number)
    time.sleep(seconds)
    note(END, number)
    return number


@dramatiq.actor(store_results=True)
def late(number, sent):
    note(LATE, number, sent)
    return number


ACTORS = {"noop": noop, "nap": nap, "late": late}


def send(kind: str, *args: Any) -> None:
    ACTORS[kind].send(*args)
