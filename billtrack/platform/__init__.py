"""Infrastructure of all rooms: settings, database, HTTP, jobs, audit, limits, storage, metrics.

Knows no account, no usage and no price. Capabilities register here what the platform calls.
"""
