"""What becomes of a task, transition by transition."""
