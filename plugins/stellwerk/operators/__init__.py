"""Operators: validate the rendered input, call the domain, act or defer."""
