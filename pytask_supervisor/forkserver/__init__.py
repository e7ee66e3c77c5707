"""With ``--preload``: a process that loads the app once and forks the workers. ``client`` is the master's side."""
