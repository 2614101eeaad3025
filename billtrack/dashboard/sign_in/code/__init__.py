"""Sign-in: the two-factor code."""
