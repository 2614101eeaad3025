"""Storage of finished files: in a folder, or in an S3 bucket.

Owns how a file appears whole or not at all. Does not know what a file says.
"""
