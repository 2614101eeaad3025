"""Usage from CSV files: read line by line, taken in by blocks, refused lines given back.

Owns the format of the files and the keys of lines that bring none, so that the same file twice
adds nothing. Whether a record is acceptable is decided where all records are: `usage.ingest`.
"""
