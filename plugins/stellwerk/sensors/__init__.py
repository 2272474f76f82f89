"""Time-bounded wait conditions as tasks."""
