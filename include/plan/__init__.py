"""The plan: what users write in YAML, checked and typed."""
