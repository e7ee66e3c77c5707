"""What a worker changes in its process, and restores when it ends."""
