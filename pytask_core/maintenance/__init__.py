"""What keeps a system in shape: the services behind the tasks ``Monitor`` and ``Cleanup``."""
