"""``pytask_core``."""
