"""Asynchronous loops that end with one typed event."""
