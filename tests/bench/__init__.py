"""Measurements against real processes; each is a program of its own that prints its figures."""
