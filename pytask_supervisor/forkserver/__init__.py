"""With ``--preload``: a process that has loaded the app once and forks the workers; ``client`` is the master's side."""
