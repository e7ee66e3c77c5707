"""The master: keeps workers alive, obeys signals and orders, ends in order.

Reading order: ``supervisor`` (the loop, and the list of its parts), ``part`` (their shape), ``state`` (what they
share), ``worker_pool`` and ``worker_handle`` (the workers), ``deaths``, ``commands``, ``reload`` and ``rolling``,
``shutdown``.
"""
