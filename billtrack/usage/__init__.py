"""Usage: meters, immutable records, their totals, and every way by which records arrive.

Owns metering from the request to the rollup. `ingest` decides and stores. Knows no prices.
"""
