"""What the machine grants and wants: CPUs, memory, limits, users, pidfile, systemd's socket."""
