"""The load generator: users who neither wait for each other nor try again, and an account of what each got."""
