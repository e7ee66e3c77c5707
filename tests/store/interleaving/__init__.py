"""What comes between two steps or commands: other programs, late words, races, breakdowns."""
