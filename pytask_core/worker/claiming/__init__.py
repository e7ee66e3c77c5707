"""The way in of a worker: how much it claims, from where, and what it passes on to others."""
