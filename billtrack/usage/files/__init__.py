"""Usage files: read CSV and JSON Lines, packed or not, line by line.

Owns how a line becomes a record. Does not store: imports and reconciliation use what it reads.
"""
