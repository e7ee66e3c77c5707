"""Servers to try pytask with: one Valkey server, or six as a cluster. Each file is also a program."""
