"""The overview: live figures of the month, and past months."""
