"""``pytask_supervisor.config``."""
