"""``pytask_supervisor.host``."""
