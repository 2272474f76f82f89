"""What was measured, and what a release did, for people to read."""
