"""Bring an installation into being: schema, meters, standard plan, demo data.

Owns no table. Spans the rooms that a new database needs something from, and
is safe to run at every start.
"""
