"""``pytask_supervisor.child``."""
