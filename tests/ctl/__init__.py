"""pytaskctl against a real server and real workers."""
