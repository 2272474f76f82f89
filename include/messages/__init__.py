"""What Stellwerk tells people: composed from facts, sent once, recorded in the ledger."""
