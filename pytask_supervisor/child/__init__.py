"""A worker process of the supervisor, from the fork to its exit code. Read ``main`` first, then ``bootstrap``."""
