"""Redis that is away, refuses, moves, or is a cluster."""
