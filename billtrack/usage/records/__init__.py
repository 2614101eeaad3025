"""Usage records: their tables, their totals by day and month, and how they are read.

Owns the terms in which usage is submitted and what became of it. Does not decide: `ingest` does.
"""
