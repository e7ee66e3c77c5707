"""What needs no server: rules, parsing, wording, and parts driven by a clock of the test's own."""
