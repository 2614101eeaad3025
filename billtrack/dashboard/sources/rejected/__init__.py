"""Rejected records: list, mend and send again."""
