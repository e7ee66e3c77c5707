"""Where the master answers others: the control socket of ``pytaskctl``, ``/metrics`` and ``/healthz``."""
