"""What the tests stand on: real servers, waiting, small apps. Imported by tests only."""
