"""A load test: simulated users in a process of their own, what they measured, what it means."""
