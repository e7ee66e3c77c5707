"""Workers that give way to new ones, and what becomes of their tasks."""
