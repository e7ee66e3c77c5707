"""The transitions, each against a real server."""
