"""The master: keeps workers alive, obeys signals and orders, ends in order.

Reading order: ``supervisor`` (the loop), ``worker_pool`` and ``worker_handle`` (the workers), ``deaths``, ``commands``,
``reload`` and ``rolling``, ``shutdown``.
"""
