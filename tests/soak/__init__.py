"""The fault kit: real processes under random faults, a ledger beside them, and a checker that judges what happened.

``python -m tests.soak --seed 1 --duration 180``. The flow: ``__main__`` (the command line), ``stage`` (server, proxies,
hosts, from first start to the last word), ``traffic`` (what is asked of the system), ``nemesis`` (what is done to it),
``watch`` (what happens meanwhile), and at the end ``aof``, ``replay`` and ``checker`` (whether it was right).
"""
