"""Files that people download: rendering them and keeping them.

Owns the pool of rendering processes and the storage of finished files, which
appear whole or not at all. Does not know what a document says: `reports` does.
"""
