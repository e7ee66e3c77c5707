"""How a supervisor and its workers leave: stops, signals, a master that is killed."""
