"""``pytask_supervisor.shared``."""
