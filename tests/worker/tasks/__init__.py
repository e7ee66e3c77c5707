"""How tasks run, end and leave, and what tasks and clients see of it."""
