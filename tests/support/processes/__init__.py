"""Real processes of ours: supervisors, workers, ``pytaskctl``, and the terminals and groups that they are in."""
