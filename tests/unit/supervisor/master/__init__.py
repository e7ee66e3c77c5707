"""``pytask_supervisor.master``."""
