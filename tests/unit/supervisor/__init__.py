"""``pytask_supervisor``, in the folders of its packages."""
