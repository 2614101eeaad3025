"""Background work: one table, one state machine, leases; Huey only rings the bell.

Owns the `jobs` rows from queued to completed or failed. Does not know what a
job does: `billtrack.entrypoints.worker.worker` registers a handler for every kind.
"""
