"""Real ``pytask-supervisor`` processes against a real server."""
