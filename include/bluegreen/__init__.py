"""Blue and green: what was observed of them, and what may be done next."""
