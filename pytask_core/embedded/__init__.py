"""Servers that come along, to try pytask: one Valkey server, or six as a cluster. Each file is also a program."""
