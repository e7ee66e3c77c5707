"""Networks and namespaces of a test's own."""
