"""The rules of gates: what is asked, what an answer means, when people are reminded, what settles a point."""
