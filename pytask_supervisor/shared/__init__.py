"""What master, workers and ``pytaskctl`` share: exit codes, log lines, and the messages that they exchange."""
