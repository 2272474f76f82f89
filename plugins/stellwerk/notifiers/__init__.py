"""Slack and mail: transport only; what is said is composed in ``include.messages``."""
