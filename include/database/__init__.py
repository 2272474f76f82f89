"""One PostgreSQL database: how it is reached, what it is, and the client programs that work with it."""
