"""What README, documentation and examples say, done as it stands there."""
