"""Rules that decide what becomes of a task: numbers in, a decision out; no Redis, no greenlet."""
