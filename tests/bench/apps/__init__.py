"""One module for each contender: the same three tasks, and how its own API enqueues them.

``noop(number)``, ``nap(number, seconds)`` and ``late(number, sent)`` note what they do (``tests.bench.records``) and
return their number, which is stored as the result. A module has ``send(kind, *args)``, or ``asend``, ``aopen`` and
``aclose`` where its API is asynchronous, and ``send_many(kind, rows)`` where it can send many at once.
"""
