"""What a worker changes in its process and gives back at its end."""
