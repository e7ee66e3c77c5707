"""What master, workers and ``pytaskctl`` share: exit codes, log lines, and their messages."""
