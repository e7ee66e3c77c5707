"""Harm at every step: kills, cuts and lost answers, with real processes."""
