"""Which tasks a worker takes, and what a Monitor and a Cleanup see to."""
