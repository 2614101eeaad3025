"""Sign-in: password, and the first administrator."""
