"""What others see and ask of a supervisor: operators, service managers, other users of the machine."""
