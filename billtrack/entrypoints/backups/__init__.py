"""Backups of a whole installation, their restoration, and the move from SQLite to PostgreSQL.

Owns the archive: database, documents, generated secrets and a manifest that a restoration is
proved against. Does not own the queue, which holds nothing that the `jobs` table does not say.
"""
