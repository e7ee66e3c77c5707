"""``pytask_supervisor.admin``."""
