"""What was used: meters, immutable records and their daily totals.

Owns the meters, the usage records with their idempotency keys, and the
rollups kept in the same transaction. `intake` is the only door for records,
`store` holds all SQL that writes them. Knows nothing of prices.
"""
