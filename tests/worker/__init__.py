"""Workers in this process, under gevent: ``python -m gevent.monkey --module pytest tests/worker``."""
