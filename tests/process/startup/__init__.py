"""From a command line to workers that are ready: app, address, user, embedded servers."""
