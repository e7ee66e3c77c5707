"""What keeps the tasks of a worker its own: its lease, renewed in time, and the stop where it is not."""
