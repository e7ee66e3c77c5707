"""What the supervisor was told: flag, environment, file and default, as one configuration."""
