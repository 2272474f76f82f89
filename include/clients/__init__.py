"""Clients of the outside world: small, typed, asynchronous. They report what they saw and decide nothing."""
