"""Sources: who sends usage, when it was last seen, what became of its records."""
